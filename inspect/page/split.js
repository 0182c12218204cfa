// A list with the details of one of its rows beside it, or in its place on narrow screens.
import {h, icon, setText} from "./dom.js";
import {change} from "./route.js";

const scrolling = 70; // milliseconds between two questions for other rows

// Split keeps a list up to date with a watch.
//
//   call: the list's call. take(result) returns {total, offset, rows} for it.
//   list: a List without need, which is set here.
//   note: an element whose text says how many rows there are. It is read out after another search, and not whenever it changes.
export class Split {
	constructor({app, call, list, note, take}) {
		Object.assign(this, {app, call, list, note, take, query: {}});
		this.element = h("div", {className: "split"}, list.element);
		this.problem = h("p", {className: "problem", role: "alert", hidden: true});
		list.need = () => this.#later();
	}

	// ask watches the rows that satisfy a query.
	ask(query) {
		const text = JSON.stringify(query), another = text !== this.text;
		this.silent = another ? this.text === undefined : this.silent;
		this.query = query;
		this.text = text;
		if (!another) return;
		this.list.toTop();
		this.#watch();
	}

	#later() { this.timer ??= setTimeout(() => this.#watch(), scrolling); }

	#watch() {
		clearTimeout(this.timer);
		this.timer = undefined;
		const {text} = this;
		this.app.live.watch("list", this.call, {...this.query, ...this.list.range()}, (result, error) => {
			if (text !== this.text) return; // of a query before
			this.problem.hidden = !error;
			if (error) return setText(this.problem, error.message);
			this.list.show(this.take(result));
			if (!this.silent) this.app.say(this.note.textContent);
			this.silent = true;
		});
	}

	// open shows details: an element, with a heading that gets the focus.
	open(details) {
		this.close();
		this.details = details;
		this.element.append(details);
		this.element.classList.add("detailed");
	}

	close() {
		const had = this.details?.contains(document.activeElement);
		this.details?.remove();
		this.details = undefined;
		this.element.classList.remove("detailed");
		if (had) this.list.grid.focus();
	}

	leave() {
		clearTimeout(this.timer);
		this.app.live.unwatch("list");
	}
}

// panel returns the frame of details, whose button and Escape close it.
export function panel(name, kind) {
	const heading = h("h2", {tabIndex: -1}), under = h("p", {className: "note"}), body = h("div", {className: "sections"});
	const close = () => change({id: "", ns: ""});
	const element = h("aside", {
		className: "card details", "aria-label": name, tabIndex: 0,
		onkeydown: e => { if (e.key === "Escape") close(); },
	}, h("header", {}, h("div", {}, h("p", {className: "note"}, kind), heading, under),
		h("button", {type: "button", className: "plain", "aria-label": "Close the details", title: "Close (Esc)", onclick: close}, icon("close"))), body);
	return {element, heading, under, body};
}
