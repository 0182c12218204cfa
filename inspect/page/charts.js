// Charts of values over time, drawn by uPlot, which index.html loads before.
import {h, setAttribute, setText} from "./dom.js";

const {uPlot} = globalThis;
const drawn = new Set();
const color = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
	matchMedia(query).addEventListener("change", () => drawn.forEach(chart => chart.redraw()));
}

// Chart shows some values over time.
//
//   title: its heading.
//   series: [{label, color, dash, fill}], whose color is a name of style.css without "--".
//   format(value): a value as text.
//   axis(value): a value as short text for the axis.
export class Chart {
	constructor({title, note, series, format, axis = format}) {
		Object.assign(this, {title, series, format, axis});
		this.values = series.map(() => h("span", {className: "value"}, "–"));
		this.legend = h("ul", {className: "legend"}, series.map(({label, color}, n) =>
			h("li", {}, h("span", {className: `mark ${color}`, "aria-hidden": "true"}), h("span", {className: "label"}, label), this.values[n])));
		this.canvas = h("div", {className: "plot", role: "img", "aria-label": `${title}: no data yet`});
		this.element = h("figure", {className: "card chart"}, h("figcaption", {}, h("h2", {}, title), note && h("span", {className: "note"}, note)), this.legend, this.canvas);
		this.data = [[], ...series.map(() => [])];
		new ResizeObserver(() => this.#resize()).observe(this.canvas);
		drawn.add(this);
	}

	// show takes columns: times in seconds, and for each series its values, null where there are none.
	show(data) {
		this.data = data;
		if (this.plot) this.plot.setData(data);
		else this.#resize();
		this.#tell(this.at ?? data[0].length - 1);
		const said = this.series.map(({label}, n) => `${label} ${this.#text(n, data[0].length - 1)}`).join(", ");
		setAttribute(this.canvas, "aria-label", data[0].length ? `${this.title} now: ${said}` : `${this.title}: no data yet`);
	}

	redraw() { this.plot?.redraw(false, true); }

	// remove frees what the chart needs. It cannot be shown again.
	remove() {
		this.plot?.destroy();
		drawn.delete(this);
	}

	#text(n, at) {
		const value = this.data[n + 1]?.[at];
		return value === null || value === undefined ? "–" : this.format(value);
	}

	#tell(at) { this.values.forEach((element, n) => setText(element, this.#text(n, at))); }

	#resize() {
		const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
		if (!width || !height) return; // the view is hidden
		if (this.plot) this.plot.setSize({width, height});
		else if (this.data[0].length) this.plot = new uPlot(this.#options(width, height), this.data, this.canvas);
	}

	#options(width, height) {
		const axis = {stroke: () => color("soft"), font: "11px system-ui", ticks: {show: false}};
		const grid = {stroke: () => color("line"), width: 1};
		return {
			width, height, legend: {show: false}, padding: [8, 8, 0, 0],
			cursor: {y: false, points: {size: 7}, drag: {x: false, y: false}},
			scales: {x: {time: true}, y: {range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.1 : 1]}},
			axes: [
				{...axis, grid: {show: false}, size: 26, space: 70, values: (_, times) => times.map(timeOfDay)},
				{...axis, grid, size: 52, space: 32, values: (_, values) => values.map(this.axis)},
			],
			series: [{}, ...this.series.map(line)],
			hooks: {setCursor: [({cursor}) => {
				this.at = cursor.idx ?? undefined;
				this.#tell(this.at ?? this.data[0].length - 1);
			}]},
		};
	}
}

function line({color: name, dash, fill}) {
	return {
		stroke: () => color(name), width: 1.75, dash, points: {show: false}, spanGaps: false,
		fill: fill ? () => color(name) + "22" : undefined, // with the transparency as two more digits
	};
}

const timeOfDay = seconds => new Date(seconds * 1000).toLocaleTimeString("en-GB");
