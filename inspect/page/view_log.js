// The view of what went wrong.
import {badge, h, setAttribute, setText} from "./dom.js";
import {search, select} from "./fields.js";
import {count, moment, shortID} from "./format.js";
import {href} from "./route.js";

const most = 300; // entries that are shown
const kinds = {
	protocol: ["protocol", "warn", "Protocol errors"], failure: ["failure", "warn", "Failed connections"], refusal: ["refusal", "plain", "Refused upgrades"],
	crash: ["crash", "bad", "Crashes of objects"], error: ["error", "bad", "Errors of handlers"], slow: ["slow", "warn", "Slow peers"], action: ["action", "info", "Actions"],
};

// entries returns a list of entries of the log.
export const entries = list => h("ul", {className: "log"}, list.map(entry));

function entry(e) {
	const [word, tone] = kinds[e.kind] ?? [e.kind, "plain"];
	return h("li", {},
		h("div", {className: "log-head"}, badge(word, tone), h("time", {dateTime: new Date(e.at).toISOString()}, moment(e.at)), e.count > 1 && h("span", {className: "tag"}, `${count(e.count)} times`)),
		h("p", {className: "log-text"}, e.text),
		h("p", {className: "note"}, about(e)));
}

function about({socket, remote, path, namespace, object, name}) {
	const parts = [];
	if (socket) parts.push(h("a", {href: href("sockets", {id: socket})}, `#${socket}`));
	if (remote) parts.push(remote);
	if (path) parts.push(path);
	if (object) parts.push(h("a", {href: href("objects", {ns: namespace, id: object})}, `${namespace} / ${name || shortID(object)}`));
	return parts.flatMap((part, n) => n ? [" · ", part] : [part]);
}

export class Log {
	constructor(app) {
		this.app = app;
		this.known = [];
		this.search = search("Search the log", "Text, peer, path, object");
		this.kind = select("Kind", "kind", [["", "All kinds"], ...Object.entries(kinds).map(([kind, [, , title]]) => [kind, title])]);
		this.note = h("p", {className: "note"});
		this.problem = h("p", {className: "problem", role: "alert", hidden: true});
		this.none = h("p", {className: "none"}, "Nothing has gone wrong.");
		this.list = h("ul", {className: "log", role: "log", "aria-label": "Log, the newest first", "aria-live": "off"});
		this.element = h("div", {className: "view"}, h("div", {className: "bar"}, h("h1", {}, "Log"), this.note, this.kind.element, this.search.element),
			this.problem, h("div", {className: "card panel"}, this.none, this.list));
	}

	update(params) {
		const q = params.get("q") ?? "", kind = params.get("kind") ?? "";
		this.search.show(q);
		this.kind.show(kind);
		setText(this.none, q || kind ? "No entry matches the search." : "Nothing has gone wrong.");
		const asked = this.asked = q + "\n" + kind;
		this.app.live.watch("log", "log", {search: q, kinds: kind ? [kind] : [], limit: most}, (result, error, fresh) => {
			if (this.asked === asked) this.#take(result, error, fresh);
		});
	}

	#take(result, error, fresh) {
		this.problem.hidden = !error;
		if (error) return setText(this.problem, error.message);
		const again = new Set(result.entries.map(e => e.seq)); // an entry that is repeated comes again, with another count
		this.known = [...result.entries, ...fresh ? [] : this.known.filter(e => !again.has(e.seq))].slice(0, most);
		this.none.hidden = this.known.length > 0;
		this.list.hidden = this.known.length === 0;
		this.list.replaceChildren(...this.known.map(entry));
		setAttribute(this.list, "aria-label", `Log, ${this.known.length} entries, the newest first`);
		setText(this.note, result.dropped ? `${count(result.dropped)} older ones were dropped` : "");
	}

	leave() { this.app.live.unwatch("log"); }
}
