// The shards of a cluster as a grid of small squares, coloured by their owners.
import {h, setAttribute, setOnce, setText} from "./dom.js";
import {count} from "./format.js";

const css = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const named = ["blue", "teal", "amber", "violet"];

// colorOf returns the colour of the n-th owner. After the named ones come hues that are far apart.
function colorOf(n) {
	if (n < named.length) return css(named[n]);
	return `hsl(${Math.round(20 + (n - named.length) * 137.5) % 360} 55% ${matchMedia("(prefers-color-scheme: dark)").matches ? 66 : 42}%)`;
}

const words = {
	unowned: "no live member owns it", remote: "", waiting: "about to begin on this node", ready: "runs on this node", leaving: "this node is giving it away",
};

export class Shards {
	constructor() {
		this.canvas = h("canvas", {
			tabIndex: 0, role: "application", "aria-roledescription": "map of shards", "aria-label": "No shards yet",
			onmousemove: e => this.#point(e), onmouseleave: () => this.#choose(undefined), onkeydown: e => this.#pressed(e),
			onblur: () => this.#choose(undefined),
		});
		this.about = h("p", {className: "note about", role: "status"});
		this.legend = h("ul", {className: "legend"});
		this.marks = h("p", {className: "note"});
		this.element = h("section", {className: "card panel shards", "aria-labelledby": "shards"}, h("h2", {id: "shards"}, "Shards"), this.legend, this.canvas, this.about, this.marks);
		this.scheme = matchMedia("(prefers-color-scheme: dark)");
		this.recolor = () => { this.key = undefined; this.#draw(); };
		this.scheme.addEventListener("change", this.recolor);
		this.sizes = new ResizeObserver(() => this.#draw());
		this.sizes.observe(this.element);
	}

	// remove frees what the grid needs.
	remove() {
		this.scheme.removeEventListener("change", this.recolor);
		this.sizes.disconnect();
	}

	// show takes ClusterShards, the ID of this node, and the numbers of shards of each member.
	show(shards, self) {
		this.shards = shards;
		this.self = self;
		this.missing = new Map(shards.waiting.map(w => [w.shard, w.missing]));
		const owned = new Array(shards.owners.length).fill(0);
		for (let n = 0; n < shards.count; n++) if (shards.owner[n] >= 0 && this.#state(n) !== "unowned") owned[shards.owner[n]]++;
		setOnce(this.legend, JSON.stringify([shards.owners, owned, this.scheme.matches]), () => shards.owners.map((id, n) => {
			const mark = h("span", {className: "mark square", "aria-hidden": "true"});
			mark.style.background = colorOf(n);
			return h("li", {}, mark, h("span", {className: "label"}, id === self ? `${id} (this node)` : id), h("span", {className: "value"}, count(owned[n])));
		}));
		const {unowned = 0, waiting = 0, leaving = 0} = shards.by_state;
		const marks = [waiting && `${count(waiting)} small: about to begin here`, leaving && `${count(leaving)} pale: being given away`, unowned && `${count(unowned)} crossed: no live owner`];
		setText(this.marks, marks.filter(Boolean).join(" · "));
		setAttribute(this.canvas, "aria-label", `${count(shards.count)} shards: ${shards.owners.map((id, n) => `${id} owns ${count(owned[n])}`).join(", ")}${unowned ? `, ${count(unowned)} have no live owner` : ""}. Use the arrow keys to read single ones.`);
		this.#draw();
		this.#tell();
	}

	#state(n) { return this.shards.states[this.shards.state[n]] ?? "unowned"; }

	#draw() {
		const width = this.element.clientWidth - 32; // its padding, as in style.css
		if (!this.shards || width <= 0) return;
		const {count: total} = this.shards, scale = devicePixelRatio || 1;
		this.size = Math.max(3, Math.min(20, Math.floor(Math.sqrt(width * 200 / Math.max(total, 1)))));
		this.columns = Math.max(1, Math.floor(width / this.size));
		const rows = Math.ceil(total / this.columns), height = rows * this.size;
		const key = JSON.stringify([width, scale, this.chosen, this.shards.owner, this.shards.state]);
		if (key === this.key) return;
		this.key = key;
		const {canvas} = this;
		canvas.width = this.columns * this.size * scale;
		canvas.height = height * scale;
		canvas.style.width = `${this.columns * this.size}px`;
		canvas.style.height = `${height}px`;
		const pen = canvas.getContext("2d");
		pen.scale(scale, scale);
		const colors = this.shards.owners.map((_, n) => colorOf(n)), bad = css("bad"), text = css("text");
		for (let n = 0; n < total; n++) this.#square(pen, n, colors, bad);
		if (this.chosen !== undefined) {
			pen.strokeStyle = text;
			pen.lineWidth = 2;
			const [x, y] = this.#place(this.chosen);
			pen.strokeRect(x + 0.5, y + 0.5, this.size - 1, this.size - 1);
		}
	}

	#place(n) { return [n % this.columns * this.size, Math.floor(n / this.columns) * this.size]; }

	#square(pen, n, colors, bad) {
		const [x, y] = this.#place(n), gap = this.size > 5 ? 1 : 0.5, side = this.size - 2 * gap, state = this.#state(n);
		pen.globalAlpha = state === "leaving" ? 0.4 : 1;
		if (state === "unowned") {
			pen.strokeStyle = bad;
			pen.lineWidth = 1;
			pen.beginPath();
			pen.moveTo(x + gap, y + gap);
			pen.lineTo(x + gap + side, y + gap + side);
			pen.moveTo(x + gap + side, y + gap);
			pen.lineTo(x + gap, y + gap + side);
			pen.stroke();
			return;
		}
		const inset = state === "waiting" ? side / 4 : 0;
		pen.fillStyle = colors[this.shards.owner[n]] ?? css("gray");
		pen.fillRect(x + gap + inset, y + gap + inset, side - 2 * inset, side - 2 * inset);
		pen.globalAlpha = 1;
	}

	#point(e) {
		const x = Math.floor(e.offsetX / this.size), n = Math.floor(e.offsetY / this.size) * this.columns + x;
		this.#choose(x < this.columns && n >= 0 && n < this.shards?.count ? n : undefined);
	}

	#pressed(e) {
		const by = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns, Home: -Infinity, End: Infinity}[e.key];
		if (by === undefined || !this.shards?.count || e.ctrlKey || e.altKey || e.metaKey) return;
		const last = this.shards.count - 1, to = this.chosen === undefined ? 0 : this.chosen + by;
		if (Math.abs(by) === Infinity) this.#choose(by > 0 ? last : 0);
		else if (to >= 0 && to <= last) this.#choose(to);
		e.preventDefault();
	}

	#choose(n) {
		if (n === this.chosen) return;
		this.chosen = n;
		this.#draw();
		this.#tell();
	}

	// #tell says what there is to know of the chosen shard.
	#tell() {
		const n = this.chosen;
		if (n === undefined || n >= this.shards.count) return setText(this.about, "Point at a shard to see its owner and epoch.");
		const owner = this.shards.owners[this.shards.owner[n]], missing = this.missing.get(n);
		const epoch = owner === undefined ? "no record yet" : `epoch ${BigInt(this.shards.epoch_base) + BigInt(this.shards.epoch[n])}`;
		const word = missing ? `waits for the sockets of ${missing.join(", ")}` : words[this.#state(n)];
		setText(this.about, [`Shard ${n}`, owner, epoch, word].filter(Boolean).join(" · "));
	}
}
