// The view of all objects in memory.
import {badge, definitions, h, setOnce, setText} from "./dom.js";
import {ask} from "./dialog.js";
import {search, select, sorting} from "./fields.js";
import {age, count, duration, moment, short} from "./format.js";
import {List} from "./list.js";
import {change, href} from "./route.js";
import {panel, Split} from "./split.js";
import {Storage} from "./storage.js";
import {entries} from "./view_log.js";
import {objectName, stateOf} from "./view_sockets.js";

const states = [["", "All states"], ["active", "Active"], ["idle", "Idle"], ["hibernated", "Hibernated"]];
const pins = ["event", "WaitUntil", "storage", "accepted socket", "outbound socket", "held socket"];
const tones = {active: "warn", idle: "good", hibernated: "info", absent: "plain"};

// key is what identifies an object in all namespaces.
const key = o => `${o.namespace}/${o.object}`;

const why = o => o.why?.[0] ?? o.pins?.[0] ?? "";

// dollars returns an amount with its sign, and without zeros that say nothing.
export function dollars(amount) {
	if (!amount) return "";
	const [whole, decimals = ""] = amount.split(".");
	return `$${whole}.${decimals.replace(/0+$/, "").padEnd(2, "0")}`;
}

// figures returns dollars with three digits that matter, for a list.
export function figures(amount) {
	const n = Number(amount);
	return n > 0 && n < 1 ? dollars(n.toFixed(Math.min(9, 2 - Math.floor(Math.log10(n))))) : dollars(amount);
}

const columns = [
	{id: "state", title: "State", width: "104px", place: "b", cell: (o, e) => setOnce(e, o.state, () => badge(o.state, tones[o.state]))},
	{id: "name", title: "Object", sort: true, width: "minmax(130px, 1.1fr)", place: "a", cell: (o, e) => setText(e, objectName(o))},
	{id: "why", title: "Why awake", width: "minmax(130px, 2fr)", place: "c", cell: (o, e) => {
		const more = (o.why?.length ?? 0) - 1;
		setText(e, (why(o) || (o.state === "active" ? "" : "free")) + (more > 0 ? ` and ${more} more` : ""));
		e.classList.toggle("soft", o.state !== "active");
	}},
	{id: "since", title: "Since", sort: true, number: true, width: "84px", place: "d", cell: (o, e) => setText(e, o.since ? age(now() - o.since) : "–")},
	{id: "cost", title: "Cost", sort: true, number: true, width: "100px", cell: (o, e) => setText(e, figures(o.cost) || "–")},
	{id: "sockets", title: "Sockets", sort: true, number: true, width: "76px", cell: (o, e) => setText(e, count(o.sockets))},
	{id: "handled", title: "Handled", sort: true, number: true, width: "78px", cell: (o, e) => setText(e, short(o.handled))},
	{id: "busy", title: "Busy", sort: true, number: true, width: "76px", cell: (o, e) => setText(e, duration(o.busy))},
	{id: "namespace", title: "Namespace", width: "minmax(80px, 0.6fr)", cell: (o, e) => setText(e, o.namespace)},
];

let now = Date.now; // the server's time

// here says that objects of a cluster that live on other nodes are not shown.
const here = ({overview}) => overview?.clusters ? " on this node" : "";

export class Objects {
	constructor(app) {
		this.app = app;
		now = () => app.live.now;
		this.search = search("Search objects by name or id", "Name or ID");
		this.namespace = select("Namespace", "in", [["", "All namespaces"]]);
		this.state = select("State", "state", states);
		this.pin = select("Why awake", "pin", [["", "Awake for any reason"], ...pins.map(pin => [pin, pin])]);
		this.note = h("p", {className: "note"});
		this.list = new List({
			name: "Objects", columns, key, open: o => change({ns: o.namespace, id: o.object}), sort: sort => change({sort}, {replace: true}),
			empty: () => this.filtered ? "No object matches the search." : "No object is in memory.",
		});
		this.split = new Split({app, call: "objects", list: this.list, note: this.note, take: result => this.#take(result)});
		this.element = h("div", {className: "view fills"}, h("div", {className: "bar"},
			h("h1", {}, "Objects"), this.note, this.namespace.element, this.state.element, this.pin.element, this.search.element), this.split.problem, this.split.element);
	}

	#take({total, selected, offset, objects}) {
		setText(this.note, selected === total ? `${count(total)} in memory${here(this.app)}` : `${count(selected)} of ${count(total)}${here(this.app)}`);
		const names = this.app.overview?.namespaces?.map(({name}) => name) ?? this.app.live.hello.namespaces ?? [];
		this.namespace.options([["", "All namespaces"], ...names.map(name => [name, name])]);
		return {total: selected, offset, rows: objects};
	}

	update(params) {
		const get = name => params.get(name) ?? "", sort = get("sort") || "since";
		this.search.show(get("q"));
		for (const [field, name] of [[this.namespace, "in"], [this.state, "state"], [this.pin, "pin"]]) field.show(get(name));
		this.filtered = Boolean(get("q") || get("in") || get("state") || get("pin"));
		this.list.showSort(sort);
		const wanted = get("id") && {namespace: get("ns"), object: get("id")}, id = wanted ? key(wanted) : undefined;
		this.list.select(id);
		this.split.ask({search: get("q"), namespace: get("in"), state: get("state"), pin: get("pin"), ...sorting(sort)});
		if (id === this.id) return;
		this.id = id;
		this.app.live.unwatch("details");
		if (wanted) this.#open(wanted, id);
		else this.split.close();
	}

	#open(wanted, id) {
		const details = new ObjectDetails(this.app, wanted);
		this.split.open(details.element);
		details.heading.focus();
		this.app.live.watch("details", "object", wanted, (object, error) => {
			if (this.id !== id) return;
			if (error) details.failed(error);
			else if (key(object) === id) details.show(object);
		});
	}

	leave() {
		this.split.leave();
		this.app.live.unwatch("details");
	}
}

// ObjectDetails is one object, with its storage.
class ObjectDetails {
	constructor(app, wanted) {
		this.app = app;
		this.wanted = wanted;
		const {element, heading, under, body} = panel(`Details of object ${wanted.object}`, `Object of ${wanted.namespace}`);
		Object.assign(this, {element, heading, under});
		setText(heading, objectName(wanted));
		this.problem = h("p", {className: "problem", role: "status", hidden: true});
		this.actions = h("div", {className: "actions"});
		this.reasons = h("section");
		this.facts = h("section");
		this.sockets = h("section");
		this.log = h("section");
		body.append(this.problem, this.actions, this.reasons, this.facts, this.sockets, new Storage(app, wanted).element, this.log);
	}

	failed(error) {
		this.problem.hidden = false;
		setText(this.problem, error.message);
	}

	show(o) {
		this.problem.hidden = true;
		setText(this.heading, objectName(o));
		setOnce(this.under, o.state, () => badge(o.state === "absent" ? "not in memory" : o.state, tones[o.state]));
		this.#showActions(o);
		this.reasons.replaceChildren(h("h3", {}, "Why it is awake"), this.#why(o));
		this.facts.replaceChildren(h("h3", {}, "Facts"), definitions(this.#pairs(o)));
		setOnce(this.sockets, JSON.stringify((o.connections ?? []).map(s => [s.socket, stateOf(s)])) + o.sockets, () => this.#connections(o));
		setOnce(this.log, JSON.stringify(o.log ?? []), () => o.log?.length ? [h("h3", {}, "Log"), entries(o.log)] : []);
	}

	#showActions(o) {
		const awake = o.state === "active" || o.state === "idle";
		setOnce(this.actions, `${this.app.live.hello.actions} ${awake} ${Boolean(o.alarm)}`, () => !this.app.live.hello.actions ? [] : [
			h("button", {type: "button", disabled: !awake, onclick: () => this.#hibernate()}, "Hibernate now"),
			h("button", {type: "button", disabled: !o.alarm, onclick: () => this.#runAlarm()}, "Run the alarm now"),
		]);
	}

	#why(o) {
		const reasons = h("ul", {className: "reasons"});
		for (const {pin, since, by, socket} of o.reasons ?? []) {
			reasons.append(h("li", {}, h("b", {}, pin), by ? ` ${by}` : "", since ? `, for ${age(this.app.live.now - since)}` : "",
				socket ? [" · ", h("a", {href: href("sockets", {id: socket})}, `#${socket}`)] : null));
		}
		if (!reasons.childElementCount) reasons.append(h("li", {className: "free"}, o.state === "idle" ? "Nothing keeps it awake: it will hibernate." : "It is not awake, and costs nothing."));
		return reasons;
	}

	#pairs(o) {
		const ago = at => at ? `${moment(at)}, ${age(this.app.live.now - at)} ago` : "";
		return [
			["Name", o.name], ["ID", h("code", {}, o.object)], ["State since", ago(o.since)], ["Constructed", ago(o.constructed)], ["Woken by", o.woken_by],
			["Evicted", o.pinned_until ? `${moment(o.pinned_until)}, unless an event comes` : ""],
			["Handled", o.handled ? `${count(o.handled)} events in ${duration(o.busy)}` : ""], ["Commits", o.commits ? count(o.commits) : ""],
			["Alarms run", o.alarms ? count(o.alarms) : ""], ["Next alarm", o.alarm_error || (o.alarm ? `${moment(o.alarm)}, ${due(o.alarm - this.app.live.now)}` : "none")],
			["Crashes", o.crashes ? h("b", {}, count(o.crashes)) : ""],
			["Cost", dollars(o.cost)], ["If it hibernated", dollars(o.hibernating)],
		];
	}

	#connections(o) {
		if (!o.connections?.length) return [];
		const rows = o.connections.slice(0, 20).map(s => h("li", {}, h("a", {href: href("sockets", {id: s.socket})}, `#${s.socket}`), ` ${s.remote} `, badge(...stateOf(s))));
		const more = o.sockets > rows.length && h("p", {}, h("a", {href: href("sockets", {q: o.object})}, `All ${count(o.sockets)} sockets`));
		return [h("h3", {}, "Sockets"), h("ul", {className: "plain-list"}, rows), more || ""];
	}

	async #hibernate() {
		const done = await ask({
			title: `Hibernate ${objectName(this.wanted)}?`, text: "Its value is dropped after its Suspend. The next event constructs it again.", confirm: "Hibernate",
			act: () => this.app.live.call("hibernate", this.wanted),
		});
		if (done) this.app.say("The object hibernates.");
	}

	async #runAlarm() {
		const done = await runAlarm(this.app, this.wanted);
		if (done) this.app.say("The alarm has run.");
	}
}

// due says when something comes, or how late it is.
export const due = ms => ms >= 0 ? `in ${age(ms)}` : `${age(-ms)} late`;

// runAlarm asks, and runs an object's alarm.
export function runAlarm(app, {namespace, object, name}) {
	return ask({
		title: `Run the alarm of ${objectName({object, name})} now?`, text: "Its Alarm handler runs as if the time had come. The alarm that is set now is used up.",
		confirm: "Run the alarm", act: () => app.live.call("run_alarm", {namespace, object}),
	});
}
