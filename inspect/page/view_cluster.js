// The view of the cluster: its nodes, who owns which shards, the links between nodes, and what has changed.
import {badge, definitions, h, setAttribute, setOnce, setText} from "./dom.js";
import {select} from "./fields.js";
import {age, bytes, count, duration, moment, short} from "./format.js";
import {Shards} from "./shards.js";

const tones = {alive: "good", late: "warn", leaving: "info", refused: "bad", absent: "bad"};

export class Cluster {
	constructor(app) {
		this.app = app;
		this.note = h("p", {className: "note"});
		this.choice = select("Cluster", "name", [["", "First cluster"]]);
		this.problem = h("p", {className: "problem", role: "status", hidden: true});
		this.tiles = h("section", {className: "tiles", "aria-label": "This node"});
		this.figures = Object.fromEntries(["lease", "nodes", "shards", "waiting", "moves"].map(name => [name, this.#tile(name)]));
		this.shards = new Shards();
		this.nodes = h("section", {className: "card panel", "aria-labelledby": "nodes"});
		this.links = h("section", {className: "card panel", "aria-labelledby": "links"});
		this.moves = h("section", {className: "card panel", "aria-labelledby": "moves"});
		this.news = h("section", {className: "card panel", "aria-labelledby": "changes"});
		this.body = h("div", {className: "sections"}, this.tiles, this.nodes, this.shards.element, this.links, h("div", {className: "halves"}, this.moves, this.news));
		this.element = h("div", {className: "view"}, h("div", {className: "bar"}, h("h1", {}, "Cluster"), this.note, this.choice.element), this.problem, this.body);
		this.body.hidden = this.choice.element.hidden = true;
	}

	#tile(name) {
		const title = h("span", {className: "name"}), figure = h("span", {className: "figure"}, "–"), more = h("span", {className: "more"}, "\u00a0");
		this.tiles.append(h("div", {className: "card tile", role: "group", "data-tile": name}, title, figure, more));
		return (text, value, rest, bad = false) => {
			setText(title, text);
			setText(figure, value);
			setText(more, rest || "\u00a0");
			more.classList.toggle("bad", bad);
			setAttribute(title.parentElement, "aria-label", `${text}: ${value}${rest ? `, ${rest}` : ""}`);
		};
	}

	update(params) {
		this.wanted = params.get("name") ?? "";
		this.choice.show(this.wanted);
		this.app.live.watch("cluster", "cluster", {}, (report, error) => this.#take(report, error));
	}

	#take(report, error) {
		const list = report?.clusters ?? [], names = list.map(c => `${c.name} at ${c.node}`);
		const c = list[Math.max(0, names.indexOf(this.wanted))];
		this.body.hidden = !c;
		this.choice.element.hidden = list.length < 2;
		if (list.length > 1) this.choice.options([["", names[0]], ...names.slice(1).map(name => [name, name])]);
		const problem = error?.message ?? (c ? trouble(c, report.now) : "No namespace that the inspector knows is in a cluster.");
		this.problem.hidden = !problem;
		setText(this.problem, problem);
		if (!c) return setText(this.note, "");
		setText(this.note, `${c.name}, seen by node ${c.node} · protocol ${c.version} · ${c.namespaces.join(", ")}`);
		this.#figures(c);
		this.shards.show(c.shards, c.node);
		this.#nodes(c);
		this.#links(c, report.now);
		this.#moves(c);
		this.#news(c.events);
	}

	#figures({lease, members, shards, waiting, retries, moves, node}) {
		const {ready = 0, waiting: begin = 0, leaving = 0, unowned = 0} = shards.by_state, alive = members.filter(m => m.state === "alive" || m.state === "leaving").length;
		const edge = members.find(m => m.id === node)?.edge_only;
		this.figures.lease("Lease", lease.valid ? `${(lease.left / 1000).toFixed(0)} s` : "fenced", lease.valid ? `of ${duration(lease.ttl)}, ${short(lease.renewals)} renewals` : "this node runs no objects", !lease.valid);
		this.figures.nodes("Nodes alive", count(alive), alive === members.length ? "all" : `of ${count(members.length)}`, alive !== members.length);
		this.figures.shards("Shards ready here", count(ready), [edge && "edge only", begin && `${count(begin)} about to begin`, leaving && `${count(leaving)} leaving`, unowned && `${count(unowned)} without an owner`].filter(Boolean).join(", ") || `of ${count(shards.count)}`, unowned > 0);
		this.figures.waiting("Requests waiting", count(waiting), `${short(retries)} sent again`, waiting > 0);
		this.figures.moves("Shards moved", short(moves.gained + moves.given + moves.lost), `${short(moves.gained)} gained, ${short(moves.given)} given, ${short(moves.lost)} lost`);
	}

	#nodes({members, node, others}) {
		setOnce(this.nodes, JSON.stringify([members, others]), () => [h("h2", {id: "nodes"}, "Nodes"), others ? h("p", {className: "note"}, `${count(others)} more are not shown`) : null,
			table("nodes", ["Node", "State", "Address"], ["Shards", "Our sockets there", "Its sockets here", "Last renewal", "Protocol"], members.map(m => h("tr", {},
				h("th", {scope: "row"}, m.id, m.id === node && h("span", {className: "soft"}, "\u00a0(this\u00a0node)")),
				h("td", {}, badge(m.edge_only ? `${m.state}, edge only` : m.state, tones[m.state])),
				h("td", {className: "mono folds", title: `incarnation ${m.incarnation}`}, m.addr),
				numbers([count(m.shards), count(m.edge_sockets), count(m.home_sockets), m.state === "absent" ? "–" : `${duration(Math.round(m.beat_age / 100) * 100)} ago`, m.versions[0] === m.versions[1] ? m.versions[0] : `${m.versions[0]} to ${m.versions[1]}`])))),
		].filter(Boolean));
	}

	#links({links}, now) {
		setOnce(this.links, JSON.stringify([links, Math.floor(now / 1000)]), () => [h("h2", {id: "links"}, "Links"), links.length === 0
			? h("p", {className: "note"}, "There is no link yet: the first client makes one.")
			: table("links", ["Node", "For", "State"], ["Since", "Reconnects", "Channels", "In", "Out", "Queued", "Round trip"], links.map(l => h("tr", {},
				h("th", {scope: "row"}, l.member), h("td", {}, l.dialed ? "our clients" : "its clients"),
				h("td", {title: l.error ?? ""}, badge(l.connected ? "connected" : "disconnected", l.connected ? "good" : "bad"), !l.connected && l.error && h("span", {className: "reason soft"}, l.error)),
				numbers([l.since ? age(now - l.since) : "–", count(Math.max(0, l.connections - 1)), count(l.channels), `${short(l.frames_in)} · ${bytes(l.bytes_in)}`, `${short(l.frames_out)} · ${bytes(l.bytes_out)}`, bytes(l.unacknowledged), l.round_trip ? duration(l.round_trip) : "–"])))),
		]);
	}

	#moves({moves: m, lease}) {
		setOnce(this.moves, JSON.stringify([m, lease.failures, lease.ended, lease.error]), () => [h("h2", {id: "moves"}, "Claims and hand-overs"), definitions([
			["Under way", `${many(m.claiming, "claim", "claims")}, ${many(m.handing_off, "hand-over", "hand-overs")}`],
			["Claims", `${count(m.claims)} tried, ${many(m.conflicts, "conflict", "conflicts")}`],
			["Hand-overs", m.given ? `${count(m.given)}; mean ${duration(m.handover)}, last ${duration(m.last_handover)}` : "none"],
			["Made ready", m.ready ? `${count(m.ready)}; mean ${duration(m.ready_time)}, last ${duration(m.last_ready)}` : "none"],
			["Dead nodes", `${count(m.removed)} removed by this node`],
			["Lease", `${many(lease.failures, "failed renewal", "failed renewals")}, fenced ${many(lease.ended, "time", "times")}`],
			["Last failure", lease.error && `${lease.error} (${moment(lease.error_at)})`],
		])]);
	}

	#news(list) {
		setOnce(this.news, JSON.stringify(list), () => [h("h2", {id: "changes"}, "Recent changes"), list.length === 0 ? h("p", {className: "note"}, "Nothing has changed yet.")
			: h("ul", {className: "log news", tabIndex: 0, "aria-labelledby": "changes"}, list.map(e => h("li", {}, h("div", {className: "log-head"}, badge(e.kind, toneOf(e)), h("time", {dateTime: new Date(e.at).toISOString()}, moment(e.at))),
				h("p", {className: "log-text"}, [e.member, changed(e), e.reason].filter(Boolean).join(" · ")))))]);
	}

	leave() {
		this.app.live.unwatch("cluster");
		this.shards.remove();
	}
}

// trouble says what somebody should know first, or "".
function trouble({lease, members, shards, links, node}, now) {
	const late = members.filter(m => m.state === "late" || m.state === "refused").map(m => m.id);
	const broken = links.filter(l => l.dialed && !l.connected && l.channels > 0).map(l => l.member);
	return [
		!lease.valid && `Node ${node} is fenced: it has lost its lease, and runs no objects.`,
		lease.error && now - lease.error_at < lease.ttl && `The membership was not renewed: ${lease.error}.`,
		late.length > 0 && `Not heard of in time: ${late.join(", ")}.`,
		broken.length > 0 && `No connection to ${broken.join(", ")}.`,
		shards.by_state.unowned > 0 && `${many(shards.by_state.unowned, "shard has", "shards have")} no live owner: requests to their objects wait.`,
	].filter(Boolean).join(" ");
}

const many = (n, one, others) => `${count(n)} ${n === 1 ? one : others}`;
const numbers = values => values.map(value => h("td", {className: "number"}, String(value)));
const table = (label, texts, figures, body) => h("div", {className: "scrolls", tabIndex: 0, role: "region", "aria-labelledby": label}, h("table", {"aria-labelledby": label},
	h("thead", {}, h("tr", {}, texts.map(title => h("th", {scope: "col"}, title)), figures.map(title => h("th", {scope: "col", className: "number"}, title)))), h("tbody", {}, body)));

function changed({gained, given, lost, took}) {
	const parts = [gained && `${count(gained)} gained`, given && `${count(given)} given`, lost && `${count(lost)} lost`].filter(Boolean);
	return parts.length ? `${parts.join(", ")}${took ? ` within ${duration(took)}` : ""}` : "";
}

function toneOf({kind, lost}) {
	if (lost || kind === "lease ended" || kind === "member removed" || kind === "member refused") return "bad";
	return kind === "member left" || kind === "member leaving" ? "warn" : kind === "shards changed" ? "info" : "good";
}
