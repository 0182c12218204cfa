// The view of the alarms to come.
import {h, setAttribute, setText} from "./dom.js";
import {select} from "./fields.js";
import {count, moment} from "./format.js";
import {List} from "./list.js";
import {href} from "./route.js";
import {due, runAlarm} from "./view_objects.js";
import {objectName} from "./view_sockets.js";

const most = 500; // alarms that are shown

export class Alarms {
	constructor(app) {
		this.app = app;
		this.namespace = select("Namespace", "in", [["", "All namespaces"]]);
		this.note = h("p", {className: "note"});
		this.problem = h("p", {className: "problem", role: "alert", hidden: true});
		this.all = [];
		this.list = new List({
			name: "Alarms", key: a => `${a.namespace}/${a.object}`, open: a => { location.hash = href("objects", {ns: a.namespace, id: a.object}); }, sort: () => {}, need: () => this.#show(),
			columns: [...columns(() => app.live.now), this.#actionColumn()], empty: () => "No alarm is set.",
		});
		this.element = h("div", {className: "view fills"}, h("div", {className: "bar"}, h("h1", {}, "Alarms"), this.note, this.namespace.element), this.problem,
			h("div", {className: "split"}, this.list.element));
	}

	// #actionColumn returns the column of buttons, which are no stops of the tab key: with the keyboard the object is opened, and its button used.
	#actionColumn() {
		const cell = (alarm, element) => {
			if (!this.app.live.hello.actions) return;
			if (!element.firstChild) element.append(h("button", {type: "button", className: "plain small", tabIndex: -1, onclick: e => this.#run(e, element.alarm)}, "Run now"));
			element.alarm = alarm;
			setAttribute(element.firstChild, "aria-label", `Run the alarm of ${objectName(alarm)} now`);
		};
		return {id: "run", title: "", width: "96px", place: "d", number: true, cell};
	}

	async #run(e, alarm) {
		e.stopPropagation(); // the row is not opened
		if (await runAlarm(this.app, alarm)) this.app.say("The alarm has run.");
	}

	update(params) {
		const namespace = params.get("in") ?? "";
		this.namespace.options([["", "All namespaces"], ...(this.app.live.hello?.namespaces ?? []).map(name => [name, name])]);
		this.namespace.show(namespace);
		this.app.live.watch("alarms", "alarms", {namespace, limit: most}, (result, error) => {
			this.problem.hidden = !error;
			if (error) return setText(this.problem, error.message);
			this.namespace.options([["", "All namespaces"], ...this.app.live.hello.namespaces.map(name => [name, name])]);
			this.all = result.alarms ?? [];
			setText(this.note, `${result.more ? "The next " : ""}${count(this.all.length)} ${this.all.length === 1 ? "alarm" : "alarms"}`);
			this.#show();
		});
	}

	#show() {
		const {offset, limit} = this.list.range();
		this.list.show({total: this.all.length, offset, rows: this.all.slice(offset, offset + limit)});
	}

	leave() { this.app.live.unwatch("alarms"); }
}

const columns = now => [
	{id: "at", title: "At", width: "180px", place: "c", cell: (a, e) => setText(e, moment(a.at))},
	{id: "due", title: "Due", width: "140px", place: "b", cell: (a, e) => {
		setText(e, due(a.at - now()));
		e.classList.toggle("hot", a.at < now() - 1000);
	}},
	{id: "name", title: "Object", width: "minmax(130px, 1fr)", place: "a", cell: (a, e) => setText(e, objectName(a))},
	{id: "namespace", title: "Namespace", width: "minmax(100px, 1fr)", cell: (a, e) => setText(e, a.namespace)},
];


