// A list of any number of rows, of which only those on the screen are elements. It is a grid for screen readers: one stop of the tab key,
// with arrow keys for the rows.
import {h, icon, setAttribute, setText} from "./dom.js";

const spare = 8; // rows above and below what is visible, so that a short scroll shows no gap
const most = 90; // rows that are elements at a time, however high the window is

let lists = 0;

// List shows rows that it is given in pieces.
//
//   columns: [{id, title, cell(row, element), sort, number, width, place}]. cell fills an element; sort says that the server can sort by it;
//     width is a track of CSS grid; place is where the cell is on narrow screens: "a" to "d", or nowhere.
//   key(row): what identifies a row while others come and go.
//   need(): called when other rows are visible: see range.
//   open(row): called for Enter and clicks.
//   sort(value): called with the sort that is wanted: a column's id, with "-" before it for falling.
export class List {
	constructor({name, columns, key, need, open, sort, empty}) {
		Object.assign(this, {columns, key, need, open, onSort: sort, emptyText: empty});
		this.id = `list-${++lists}`;
		this.total = 0;
		this.rows = new Map(); // by index
		this.elements = []; // of rows, used again and again
		this.active = 0; // the row of the arrow keys
		this.#build(name);
	}

	#build(name) {
		this.head = h("div", {className: "row head", role: "row", "aria-rowindex": 1});
		this.columns.forEach((column, at) => this.head.append(this.#heading(column, at)));
		this.body = h("div", {className: "body", role: "rowgroup"});
		this.space = h("div", {className: "space", role: "none"});
		this.body.append(this.space);
		this.grid = h("div", {
			className: "grid", role: "grid", tabIndex: 0, "aria-label": name, "aria-colcount": this.columns.length,
			onscroll: () => this.#scrolled(), onkeydown: e => this.#pressed(e),
		}, h("div", {role: "rowgroup", className: "heads"}, this.head), this.body);
		this.grid.style.setProperty("--tracks", this.columns.map(column => column.width ?? "minmax(0, 1fr)").join(" "));
		this.grid.style.setProperty("--least", `${this.#leastWidth()}px`);
		this.none = h("p", {className: "none", hidden: true});
		this.sorts = this.#sortBox(name);
		this.element = h("div", {className: "list"}, this.sorts, this.grid, this.none);
		new ResizeObserver(() => this.#scrolled()).observe(this.grid);
	}

	// #leastWidth returns the width below which the list scrolls sideways, so that headings and rows have the same tracks.
	#leastWidth() {
		const gap = 14, edge = 16; // as in style.css
		const tracks = this.columns.map(({width = "0"}) => Number(/\d+/.exec(width)[0]));
		return tracks.reduce((sum, track) => sum + track, 0) + gap * (tracks.length - 1) + 2 * edge;
	}

	#heading(column, at) {
		const cell = h("div", {className: column.number ? "cell number" : "cell", role: "columnheader", "aria-colindex": at + 1});
		if (!column.sort) {
			cell.append(column.title);
			return cell;
		}
		cell.append(h("button", {type: "button", onclick: () => this.#sortBy(column)}, column.title, icon("sort")));
		setAttribute(cell, "aria-sort", "none");
		return cell;
	}

	// #sortBox takes the place of the headings on narrow screens.
	#sortBox(name) {
		const box = h("select", {onchange: () => this.onSort(box.value)});
		for (const {id, title, sort} of this.columns) {
			if (sort) box.append(h("option", {value: id}, `${title}, rising`), h("option", {value: "-" + id}, `${title}, falling`));
		}
		this.sortBox = box;
		return box.options.length ? h("label", {className: "sorts"}, "Sort by", box) : h("span", {hidden: true}, name);
	}

	#sortBy({id, number}) {
		const first = number ? "-" + id : id, other = number ? id : "-" + id;
		this.onSort(this.sorted === first ? other : first);
	}

	// showSort shows by which column the rows are sorted.
	showSort(sort) {
		this.sorted = sort;
		this.sortBox.value = sort;
		this.columns.forEach((column, at) => {
			if (!column.sort) return;
			const direction = sort === column.id ? "ascending" : sort === "-" + column.id ? "descending" : "none";
			setAttribute(this.head.children[at], "aria-sort", direction);
			setAttribute(this.head.children[at].querySelector("use"), "href", {none: "#icon-sort", ascending: "#icon-rising", descending: "#icon-falling"}[direction]);
		});
	}

	// range returns which rows are needed: the first, and how many.
	range() {
		const {first, shown} = this.#visible(), from = Math.max(0, first - spare);
		return {offset: from, limit: Math.min(most, shown + 2 * spare)};
	}

	#visible() {
		this.rowHeight = parseFloat(getComputedStyle(this.grid).getPropertyValue("--row")) || 36;
		const height = this.grid.clientHeight - this.head.offsetHeight;
		return {first: Math.floor(this.grid.scrollTop / this.rowHeight), shown: Math.ceil(Math.max(height, 0) / this.rowHeight) + 1};
	}

	// show takes the rows from offset on, out of total. Rows that were given before and are not among them are forgotten.
	show({total, offset, rows}) {
		const at = this.rows.get(this.active), active = at && this.key(at);
		this.total = total;
		this.rows = new Map(rows.map((row, n) => [offset + n, row]));
		const moved = active === undefined ? -1 : rows.findIndex(row => this.key(row) === active);
		if (moved >= 0) this.active = offset + moved;
		this.active = Math.max(0, Math.min(this.active, total - 1));
		this.#draw();
	}

	// select marks the row that is shown beside the list.
	select(key) {
		this.selected = key;
		this.#draw();
	}

	// toTop shows the first rows, after another search.
	toTop() {
		this.active = 0;
		this.grid.scrollTop = 0;
	}

	#scrolled() {
		this.#draw();
		const {offset, limit} = this.range();
		for (let n = offset; n < Math.min(offset + limit, this.total); n++) {
			if (!this.rows.has(n)) return this.need();
		}
	}

	#draw() {
		const {offset, limit} = this.range(), end = Math.min(this.total, offset + limit);
		this.space.style.height = `${this.total * this.rowHeight}px`;
		setAttribute(this.grid, "aria-rowcount", this.total + 1);
		this.none.hidden = this.total > 0;
		if (this.total === 0) setText(this.none, this.emptyText?.() ?? "Nothing to show.");
		while (this.elements.length < end - offset) this.elements.push(this.#row());
		while (this.elements.length > Math.max(0, end - offset)) this.elements.pop().remove();
		for (let n = offset; n < end; n++) this.#fill(this.elements[n - offset], n);
		const active = this.elements[this.active - offset];
		if (active && this.total > 0) setAttribute(this.grid, "aria-activedescendant", active.id);
		else this.grid.removeAttribute("aria-activedescendant");
	}

	#row() {
		const row = h("div", {className: "row", role: "row", id: `${this.id}-${this.elements.length}`, onclick: () => this.#clicked(row)});
		this.columns.forEach((column, at) => row.append(h("div", {
			className: `cell${column.number ? " number" : ""}${column.place ? " place-" + column.place : " wide-only"}`,
			role: "gridcell", "aria-colindex": at + 1,
		})));
		this.space.append(row);
		return row;
	}

	#fill(element, n) {
		const row = this.rows.get(n);
		element.index = n;
		element.style.transform = `translateY(${n * this.rowHeight}px)`;
		setAttribute(element, "aria-rowindex", n + 2);
		setAttribute(element, "aria-selected", row !== undefined && this.selected !== undefined && this.key(row) === this.selected);
		element.classList.toggle("active", n === this.active);
		element.classList.toggle("odd", n % 2 === 1);
		element.classList.toggle("loading", !row);
		if (row) this.columns.forEach((column, at) => column.cell(row, element.children[at]));
	}

	#clicked(element) {
		this.active = element.index;
		this.#open();
	}

	#open() {
		this.#draw();
		const row = this.rows.get(this.active);
		if (row && this.open) this.open(row);
	}

	#pressed(e) {
		if (e.target !== this.grid || e.ctrlKey || e.altKey || e.metaKey) return;
		const page = Math.max(1, this.#visible().shown - 2);
		const moves = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity};
		if (e.key in moves) this.#move(moves[e.key]);
		else if (e.key === "Enter" || e.key === " ") this.#open();
		else return;
		e.preventDefault();
	}

	#move(by) {
		this.active = Math.max(0, Math.min(this.total - 1, this.active + by));
		const {rowHeight, grid} = this, top = this.active * rowHeight, height = grid.clientHeight - this.head.offsetHeight;
		if (top < grid.scrollTop) grid.scrollTop = top;
		if (top + rowHeight > grid.scrollTop + height) grid.scrollTop = top + rowHeight - height;
		this.#draw();
	}
}
