// The view of all sums: figures, charts, and why sockets have ended.
import {Chart} from "./charts.js";
import {h, setAttribute, setOnce, setText} from "./dom.js";
import {choice} from "./fields.js";
import {age, bytes, bytesPerSecond, count, duration, perSecond, short} from "./format.js";
import {change, href} from "./route.js";

const ranges = {"10m": {step: 1000, points: 600, text: "10 min"}, "1h": {step: 10_000, points: 360, text: "1 h"}, "12h": {step: 60_000, points: 720, text: "12 h"}};
const rate = n => perSecond(Number(n.toPrecision(3))), whole = n => short(Math.round(n * 100) / 100);

// The charts, with the names of their series in the protocol.
const charts = [
	{title: "Sockets", names: ["open", "parked", "slow"], format: count, axis: whole,
		series: [{label: "open", color: "blue", fill: true}, {label: "parked", color: "teal"}, {label: "slow", color: "amber"}]},
	{title: "Objects", names: ["awake", "active", "hibernated"], format: count, axis: whole,
		series: [{label: "awake", color: "blue"}, {label: "active", color: "amber"}, {label: "hibernated", color: "violet", fill: true}]},
	{title: "Messages", note: "per second", names: ["in", "out", "dropped"], format: rate, axis: whole,
		series: [{label: "in", color: "teal"}, {label: "out", color: "blue", fill: true}, {label: "dropped", color: "amber"}]},
	{title: "Bytes", note: "per second; the wire is dashed", names: ["bytes_in", "bytes_out", "wire_out"], format: bytesPerSecond, axis: bytes,
		series: [{label: "in", color: "teal"}, {label: "out", color: "blue", fill: true}, {label: "out, wire", color: "violet", dash: [5, 4]}]},
	{title: "Handler latency", note: "of received messages", names: ["latency_p50", "latency_p99"], format: duration, axis: duration,
		series: [{label: "p50", color: "teal"}, {label: "p99", color: "violet", fill: true}]},
	{title: "Opened, closed, refused", note: "per second", names: ["opened", "closed", "refused"], format: rate, axis: whole,
		series: [{label: "opened", color: "teal"}, {label: "closed", color: "blue"}, {label: "refused", color: "amber"}]},
	{title: "Round trips", note: "of pings", names: ["round_trip_p50", "round_trip_p99"], format: duration, axis: duration,
		series: [{label: "p50", color: "teal"}, {label: "p99", color: "violet", fill: true}]},
	{title: "Commits, alarms, crashes", note: "per second", names: ["commits", "alarms", "crashed"], format: rate, axis: whole,
		series: [{label: "commits", color: "blue", fill: true}, {label: "alarms", color: "teal"}, {label: "crashes", color: "amber"}]},
];

const causes = {
	peer: "the peer closed first", local: "Close was called here", shutdown: "shutdown, lifetime or idle time-out", lost: "the connection was lost", silent: "the peer did not answer",
	slow: "the peer did not read", protocol: "the peer broke the protocol", limit: "a limit or quota", failure: "a handler failed",
};
const refusals = {
	handshake: "no valid handshake", origin: "origin not allowed", limit: "a limit or quota", shutdown: "shutting down", options: "the server cannot upgrade", target: "the proxy's target",
	lost: "the connection was lost",
};

export class Overview {
	constructor(app) {
		this.app = app;
		this.tiles = h("div", {className: "tiles"});
		this.charts = charts.map(({names, ...chart}) => ({names, chart: new Chart(chart)}));
		this.codes = bars("Close codes", "No socket has closed yet.");
		this.causes = bars("Why sockets ended", "No socket has ended yet.");
		this.refusals = bars("Refused upgrades", "No upgrade was refused.", "bad");
		this.times = h("section", {className: "card panel", "aria-labelledby": "times"});
		this.namespaces = h("section", {className: "card panel", "aria-labelledby": "namespaces"});
		this.note = h("p", {className: "note"});
		this.range = h("div");
		this.element = h("div", {className: "view"}, h("div", {className: "bar"}, h("h1", {}, "Overview"), this.note, this.range), this.tiles,
			h("div", {className: "charts"}, this.charts.map(({chart}) => chart.element)),
			h("div", {className: "halves"}, this.causes.element, this.codes.element, this.refusals.element, this.times, this.namespaces));
		this.figures = Object.fromEntries(["sockets", "objects", "messages", "bytes", "latency", "refused"].map(name => [name, this.#tile(name)]));
		app.onoverview = overview => this.#show(overview);
		if (app.overview) this.#show(app.overview);
	}

	#tile(name) {
		const title = h("span", {className: "name"}), figure = h("span", {className: "figure"}, "–"), more = h("span", {className: "more"}, "\u00a0");
		this.tiles.append(h("div", {className: "card tile", role: "group", "data-tile": name}, title, figure, more));
		return (text, value, rest, bad = false) => {
			setText(title, text);
			setText(figure, value);
			setText(more, rest);
			more.classList.toggle("bad", bad);
			setAttribute(title.parentElement, "aria-label", `${text}: ${value}, ${rest}`);
		};
	}

	update(params) {
		const wanted = params.get("range"), name = Object.hasOwn(ranges, wanted ?? "") ? wanted : "10m";
		if (name === this.shown) return;
		this.shown = name;
		this.range.replaceChildren(choice("Time shown", Object.entries(ranges).map(([of, {text}]) => [of, text]), name, range => change({range}, {replace: true})));
		this.app.live.watch("history", "history", {step: ranges[name].step}, (history, error, fresh) => {
			if (!error && history.step === ranges[this.shown].step) this.#history(history, fresh);
		});
	}

	#history({times, series}, fresh) {
		const {points} = ranges[this.shown], old = fresh ? undefined : this.history;
		const join = (before, after) => [...before ?? [], ...after ?? times.map(() => null)].slice(-points);
		this.history = {times: join(old?.times, times), series: {}};
		for (const name of charts.flatMap(({names}) => names)) this.history.series[name] = join(old?.series[name], series[name]);
		const seconds = this.history.times.map(ms => ms / 1000);
		for (const {names, chart} of this.charts) chart.show([seconds, ...names.map(name => this.history.series[name])]);
	}

	#show(o) {
		const {sockets: s, objects: b, messages: m, rates: r} = o, refused = sum(o.refusals);
		setText(this.note, `Sums of the last ${age(o.now - o.since)}`);
		this.figures.sockets("Sockets open", count(s.open), s.slow ? `${count(s.parked)} parked, ${count(s.slow)} slow` : `${count(s.parked)} parked`, s.slow > 0);
		this.figures.objects("Objects awake", count(b.awake), `${count(b.active)} active, ${count(b.hibernated)} hibernated`);
		this.figures.messages("Messages", perSecond(r.in + r.out), `${rate(r.in)} in, ${rate(r.out)} out`);
		this.figures.bytes("Payload", bytesPerSecond(r.bytes_in + r.bytes_out), `${bytes(m.bytes_in + m.bytes_out)} in all`);
		this.figures.latency("Handler p99", o.recent.count ? duration(o.recent.p99) : "–", o.recent.count ? `p50 ${duration(o.recent.p50)}, last minute` : "no message in the last minute");
		this.figures.refused("Refused", count(refused), `${many(b.crashed, "crash", "crashes")}, ${many(b.failed, "error", "errors")}`, b.crashed > 0);
		this.codes.show((o.close_codes ?? []).map(({code, name, count: n}) => [code, name.replace(/^\d+ \(?|\)$/g, ""), n]));
		this.causes.show((o.causes ?? []).map(({name, count: n}) => [name, causes[name] ?? "", n]));
		this.refusals.show((o.refusals ?? []).map(({name, count: n}) => [name, refusals[name] ?? "", n]));
		this.#showTimes(o);
		this.#showNamespaces(o.namespaces ?? []);
	}

	#showTimes(o) {
		const rows = [["Handlers, last minute", o.recent], ["Handlers", o.latency], ["Round trips", o.round_trip], ["Commits", o.commit], ["Alarms, late by", o.alarm_late]];
		setOnce(this.times, JSON.stringify(rows), () => [h("h2", {id: "times"}, "Durations"), h("div", {className: "scrolls"}, h("table", {"aria-labelledby": "times"},
			h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "Of"), ["Count", "p50", "p99"].map(title => h("th", {scope: "col", className: "number"}, title)))),
			h("tbody", {}, rows.map(([name, q]) => h("tr", {}, h("th", {scope: "row"}, name), h("td", {className: "number"}, short(q.count)),
				[q.p50, q.p99].map(value => h("td", {className: "number"}, q.count ? duration(value) : "–")))))))]);
	}

	#showNamespaces(list) {
		this.namespaces.hidden = list.length === 0;
		setOnce(this.namespaces, JSON.stringify(list), () => [h("h2", {id: "namespaces"}, "Namespaces"), h("div", {className: "scrolls"}, h("table", {"aria-labelledby": "namespaces"},
			h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "Name"), ["Active", "Idle", "Hibernated"].map(title => h("th", {scope: "col", className: "number"}, title)))),
			h("tbody", {}, list.map(n => h("tr", {}, h("th", {scope: "row"}, h("a", {href: href("objects", {in: n.name})}, n.name)),
				[n.active, n.idle, n.hibernated].map(value => h("td", {className: "number"}, count(value))))))))]);
	}

	leave() {
		this.app.live.unwatch("history");
		for (const {chart} of this.charts) chart.remove();
	}
}

const many = (n, one, others) => `${count(n)} ${n === 1 ? one : others}`;
const sum = list => (list ?? []).reduce((all, {count: n}) => all + n, 0);

let panels = 0;

// bars returns a list of names with counts: show takes [name, meaning, count].
function bars(title, none, tone = "") {
	const id = `bars-${++panels}`, list = h("ul", {className: `bars ${tone}`}), empty = h("p", {className: "note"}, none);
	return {
		element: h("section", {className: "card panel", "aria-labelledby": id}, h("h2", {id}, title), empty, list),
		show(rows) {
			const most = Math.max(1, ...rows.map(([, , n]) => n));
			empty.hidden = rows.length > 0;
			setOnce(list, JSON.stringify(rows), () => rows.map(([name, meaning, n]) => h("li", {},
				h("span", {className: "label"}, h("b", {}, String(name)), " ", h("span", {}, meaning)), h("span", {className: "value"}, count(n)),
				h("progress", {max: most, value: n, "aria-hidden": "true"}))));
		},
	};
}
