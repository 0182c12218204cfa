// Numbers, sizes and times as text, in English and with the units of the International System.

const grouped = new Intl.NumberFormat("en", {maximumFractionDigits: 0});

// count returns a whole number with its thousands apart.
export const count = n => grouped.format(n ?? 0);

// short returns a number of at most four characters and a letter, for axes and tiles: 950, 1.2k, 34M.
export function short(n) {
	for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
		if (Math.abs(n) >= size) return figure(n / size) + unit;
	}
	return figure(n);
}

// figure returns a number with as many decimals as matter.
function figure(n) {
	const size = Math.abs(n);
	if (size >= 100 || Number.isInteger(n)) return grouped.format(n);
	return String(Number(n.toFixed(size >= 10 ? 1 : 2)));
}

// bytes returns a size, such as 1.25 kB.
export function bytes(n) {
	if (!(n >= 1000)) return `${figure(n ?? 0)} B`;
	for (const [size, unit] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
		if (n >= size) return `${figure(n / size)} ${unit}`;
	}
}

// perSecond returns a rate of messages.
export const perSecond = n => n ? `${short(Number(n.toPrecision(3)))}/s` : "0/s";

// bytesPerSecond returns a rate of bytes.
export const bytesPerSecond = n => `${bytes(Number((n ?? 0).toPrecision(3)))}/s`;

// duration returns how long something took or has lasted, from milliseconds: 12 µs, 3.4 ms, 5.2 s, 4 min 10 s, 3 h 5 min, 2 d 4 h.
export function duration(ms) {
	if (ms === undefined || ms === null || Number.isNaN(ms)) return "";
	if (ms < 0) return `−${duration(-ms)}`;
	if (ms === 0) return "0 s";
	if (ms < 1) return `${figure(ms * 1000)} µs`;
	if (ms < 1000) return `${figure(ms)} ms`;
	if (ms < 60_000) return `${Number((ms / 1000).toFixed(1))} s`;
	const seconds = Math.floor(ms / 1000), minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
	if (minutes < 60) return two(minutes, "min", seconds % 60, "s");
	if (hours < 24) return two(hours, "h", minutes % 60, "min");
	return two(days, "d", hours % 24, "h");
}

const two = (a, unitA, b, unitB) => b ? `${a} ${unitA} ${b} ${unitB}` : `${a} ${unitA}`;

// age is duration in whole seconds, for what changes every second.
export const age = ms => ms < 0 ? "0 s" : ms < 60_000 ? `${Math.floor(ms / 1000)} s` : duration(ms);

// moment returns a time of day, with its date if it is not today.
export function moment(ms) {
	if (!ms) return "";
	const date = new Date(ms), time = date.toLocaleTimeString("en-GB");
	return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString("sv-SE")} ${time}`;
}

// percent returns a share between 0 and 1.
export const percent = share => `${figure(share * 100)} %`;

// shortID returns the beginning of a long id, which is enough to tell it from others on a screen.
export const shortID = id => id.length > 16 ? id.slice(0, 12) + "…" : id;
