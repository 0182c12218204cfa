// The view of all sockets.
import {badge, definitions, h, setOnce, setText, tags} from "./dom.js";
import {ask} from "./dialog.js";
import {search, select, sorting} from "./fields.js";
import {age, bytes, bytesPerSecond, count, duration, moment, percent, perSecond, short, shortID} from "./format.js";
import {List} from "./list.js";
import {entries} from "./view_log.js";
import {change, href} from "./route.js";
import {panel, Split} from "./split.js";

const states = [["", "All sockets"], ["slow", "Slow"], ["busy", "Busy"], ["parked", "Parked"], ["closing", "Closing"], ["served", "Served"], ["dialed", "Dialed"]];

// stateOf returns the word and the tone for a socket.
export function stateOf(s) {
	if (s.slow) return ["slow", "bad"];
	if (s.state !== "open") return [s.state, "warn"];
	return s.parked ? ["parked", "plain"] : ["busy", "good"];
}

// ratio returns how many bytes on the wire stand for one of payload, or "" without compression.
export function ratio(s) {
	const payload = s.bytes_in + s.bytes_out;
	return s.compressed && payload > 0 ? percent((s.wire_in + s.wire_out) / payload) : "";
}

export const objectName = o => o.name || shortID(o.object);

const columns = [
	{id: "socket", title: "ID", sort: true, width: "56px", number: true, place: "b", cell: (s, e) => setText(e, `#${s.socket}`)},
	{id: "state", title: "State", width: "64px", place: "d", cell: (s, e) => setOnce(e, stateOf(s)[0], () => badge(...stateOf(s)))},
	{id: "peer", title: "Peer", sort: true, width: "minmax(122px, 1.2fr)", place: "a", cell: (s, e) => setText(e, s.remote)},
	{id: "path", title: "Path", sort: true, width: "minmax(84px, 1fr)", place: "c", cell: (s, e) => setText(e, s.path)},
	{id: "object", title: "Object", sort: true, width: "minmax(84px, 1fr)", cell: (s, e) => setText(e, s.object ? objectName(s) : "–")},
	{id: "tags", title: "Tags", width: "minmax(58px, 0.8fr)", cell: (s, e) => setOnce(e, JSON.stringify(s.tags ?? []), () => tags(s.tags ?? []))},
	{id: "rate", title: "In, out", sort: true, number: true, width: "92px", cell: (s, e) => setText(e, `${short(Number(s.rate_in.toFixed(1)))}, ${perSecond(s.rate_out)}`)},
	{id: "queue", title: "Queue", sort: true, number: true, width: "72px", cell: (s, e) => {
		setText(e, s.queued ? bytes(s.queued) : "0");
		e.classList.toggle("hot", Boolean(s.slow));
	}},
	{id: "round_trip", title: "Round trip", sort: true, number: true, width: "82px", cell: (s, e) => setText(e, s.round_trip ? duration(s.round_trip) : "–")},
	{id: "ratio", title: "Ratio", number: true, width: "50px", cell: (s, e) => setText(e, ratio(s) || "–")},
	{id: "age", title: "Open for", sort: true, number: true, width: "76px", cell: (s, e) => setText(e, s.opened ? age(now() - s.opened) : "–")},
];

let now = Date.now; // the server's time

export class Sockets {
	constructor(app) {
		this.app = app;
		now = () => app.live.now;
		this.search = search("Search sockets by id, peer, path, tag or object", "ID, peer, path, tag, object");
		this.state = select("State", "state", states);
		this.tag = select("Tag", "tag", [["", "Any tag"]]);
		this.tag.element.hidden = true;
		this.note = h("p", {className: "note"});
		this.list = new List({
			name: "Sockets", columns, key: s => s.socket, open: s => change({id: s.socket}), sort: sort => change({sort}, {replace: true}),
			empty: () => this.filtered ? "No socket matches the search." : "No socket is open.",
		});
		this.split = new Split({app, call: "sockets", list: this.list, note: this.note, take: result => this.#take(result)});
		this.element = h("div", {className: "view fills"},
			h("div", {className: "bar"}, h("h1", {}, "Sockets"), this.note, this.state.element, this.tag.element, this.search.element), this.split.problem, this.split.element);
	}

	#take({total, selected, offset, sockets}) {
		setText(this.note, selected === total ? `${count(total)} open` : `${count(selected)} of ${count(total)}`);
		return {total: selected, offset, rows: sockets};
	}

	update(params) {
		const get = name => params.get(name) ?? "", sort = get("sort") || "socket";
		this.search.show(get("q"));
		this.state.show(get("state"));
		this.tag.show(get("tag"));
		this.tag.element.hidden = !get("tag");
		this.filtered = Boolean(get("q") || get("state") || get("tag"));
		this.list.showSort(sort);
		const id = Number(get("id")) || undefined;
		this.list.select(id);
		this.split.ask({search: get("q"), state: get("state"), tag: get("tag"), ...sorting(sort)});
		if (id === this.id) return;
		this.id = id;
		this.app.live.unwatch("details");
		if (id) this.#open(id);
		else this.split.close();
	}

	#open(id) {
		const details = new SocketDetails(this.app, id);
		this.split.open(details.element);
		details.heading.focus();
		this.app.live.watch("details", "socket", {socket: id}, (socket, error) => {
			if (this.id !== id) return;
			if (error) details.ended(error);
			else if (socket.socket === id) details.show(socket);
		});
	}

	leave() {
		this.split.leave();
		this.app.live.unwatch("details");
	}
}

// SocketDetails is one socket.
class SocketDetails {
	constructor(app, id) {
		this.app = app;
		this.id = id;
		const {element, heading, under, body} = panel(`Details of socket ${id}`, "Socket");
		Object.assign(this, {element, heading, under});
		setText(heading, `#${id}`);
		this.gone = h("p", {className: "problem", role: "status", hidden: true});
		this.actions = h("div", {className: "actions"});
		this.facts = h("section");
		this.traffic = h("section");
		this.log = h("section");
		body.append(this.gone, this.actions, this.facts, this.traffic, this.log);
	}

	ended(error) {
		this.gone.hidden = false;
		setText(this.gone, error.code === "not_found" ? "This socket is not open any more. What you see is the last that was known." : error.message);
		for (const button of this.actions.querySelectorAll("button")) button.disabled = true;
	}

	show(s) {
		this.gone.hidden = true;
		this.socket = s;
		setText(this.heading, `#${s.socket} ${s.remote}`);
		setOnce(this.under, stateOf(s)[0], () => badge(...stateOf(s)));
		setOnce(this.actions, `${this.app.live.hello.actions}`, () => this.app.live.hello.actions ? this.#buttons() : []);
		this.facts.replaceChildren(h("h3", {}, "Connection"), definitions([
			["Peer", s.remote], ["Local", s.local], ["Host", s.host], ["Path", h("code", {}, s.path)], ["Side", s.dialed ? "client (dialed)" : "server"],
			["Subprotocol", s.protocol], ["Extensions", s.extensions], ["Opened", s.opened ? `${moment(s.opened)}, ${age(this.app.live.now - s.opened)} ago` : ""],
			["Object", s.object && h("a", {href: href("objects", {ns: s.namespace, id: s.object})}, `${s.namespace} / ${objectName(s)}`)],
			["Tags", s.tags?.length ? s.tags.map(tag => h("a", {className: "tag", href: href("sockets", {tag})}, tag)) : ""],
		]));
		this.traffic.replaceChildren(h("h3", {}, "Traffic"), definitions([
			["Received", `${count(s.in)} messages, ${bytes(s.bytes_in)}, now ${perSecond(s.rate_in)}, ${bytesPerSecond(s.byte_rate_in)}`],
			["Sent", `${count(s.out)} messages, ${bytes(s.bytes_out)}, now ${perSecond(s.rate_out)}, ${bytesPerSecond(s.byte_rate_out)}`],
			["On the wire", `${bytes(s.wire_in)} in, ${bytes(s.wire_out)} out`], ["Compression", ratio(s) && `${ratio(s)} of the payload`],
			["Queue", s.slow ? h("b", {}, `${bytes(s.queued)}: the peer does not read`) : bytes(s.queued)],
			["Dropped", s.dropped ? count(s.dropped) : ""], ["Round trip", s.round_trip ? duration(s.round_trip) : "no ping was answered yet"],
			["Handler", s.in ? `${duration(s.latency)} on average, ${duration(s.latency_max)} at most` : ""],
			["Last message", s.last_message ? `${age(this.app.live.now - s.last_message)} ago` : "none"],
		]));
		setOnce(this.log, JSON.stringify(s.log ?? []), () => s.log?.length ? [h("h3", {}, "Log"), entries(s.log)] : []);
	}

	#buttons() {
		return [
			h("button", {type: "button", onclick: () => this.#send()}, "Send a message"),
			h("button", {type: "button", className: "danger", onclick: () => this.#close()}, "Close the socket"),
		];
	}

	async #send() {
		const sent = await ask({
			title: `Send a message to #${this.id}?`, text: `The peer ${this.socket.remote} gets it as a text message.`, confirm: "Send",
			fields: [{name: "text", label: "Text", type: "textarea"}], act: ({text}) => this.app.live.call("send", {socket: this.id, text}),
		});
		if (sent) this.app.say("The message is sent.");
	}

	async #close() {
		const closed = await ask({
			title: `Close #${this.id}?`, text: `The peer ${this.socket.remote} gets a Close frame.`, confirm: "Close the socket", danger: true,
			fields: [{name: "code", label: "Code", type: "number", value: "1001"}, {name: "reason", label: "Reason (123 bytes at most)"}],
			act: ({code, reason}) => this.app.live.call("close", {socket: this.id, code: Number(code), reason}),
		});
		if (closed) this.app.say("The socket is closed.");
	}
}
