// The frame of the page: the views, the state of the connection, and what belongs to all views.
import {$, h, icon, setAttribute, setText} from "./dom.js";
import {age, count, moment} from "./format.js";
import {Live} from "./live.js";
import {href, read} from "./route.js";
import {Alarms} from "./view_alarms.js";
import {Bill} from "./view_bill.js";
import {Cluster} from "./view_cluster.js";
import {Log} from "./view_log.js";
import {Objects} from "./view_objects.js";
import {Overview} from "./view_overview.js";
import {Sockets} from "./view_sockets.js";

// A view has an element, update(params) for the parameters of the fragment, and leave(). One with "if" is in the list of views if that is true.
const views = {
	overview: {title: "Overview", make: Overview},
	sockets: {title: "Sockets", make: Sockets, number: o => o.sockets.open},
	objects: {title: "Objects", make: Objects, number: o => o.objects.awake + o.objects.hibernated},
	alarms: {title: "Alarms", make: Alarms},
	cluster: {title: "Cluster", make: Cluster, if: o => o.clusters > 0},
	bill: {title: "Bill", make: Bill},
	log: {title: "Log", make: Log},
};

const live = new Live();
const app = {live, say, overview: undefined, onoverview: undefined};
let shown; // {name, view}

function say(text) {
	$("said").textContent = "";
	requestAnimationFrame(() => { $("said").textContent = text; });
}

// --- the views ---

const links = Object.fromEntries(Object.entries(views).map(([name, {title, if: wanted}]) => {
	const number = h("span", {className: "count"});
	const link = h("a", {href: href(name), hidden: wanted !== undefined}, icon(name), h("span", {}, title), number);
	$("views").append(link);
	return [name, {link, number}];
}));

function show() {
	const {view: wanted, params} = read(), name = Object.hasOwn(views, wanted) ? wanted : "overview";
	if (shown?.name !== name) {
		shown?.view.leave();
		app.onoverview = undefined;
		shown = {name, view: new views[name].make(app)};
		$("main").replaceChildren(shown.view.element);
		$("main").scrollTop = 0;
		for (const [of, {link}] of Object.entries(links)) {
			if (of === name) link.setAttribute("aria-current", "page");
			else link.removeAttribute("aria-current");
		}
		links[name].link.scrollIntoView({block: "nearest", inline: "nearest"});
	}
	title();
	shown.view.update(params);
}

function title() {
	const {program, host} = live.hello ?? {};
	document.title = [views[shown.name].title, program && `${program} on ${host}`, "edgews inspector"].filter(Boolean).join(" – ");
}

addEventListener("hashchange", show);
$("skip").addEventListener("click", () => $("main").focus());
$("views").addEventListener("keydown", e => {
	const all = [...$("views").children].filter(link => !link.hidden), at = all.indexOf(document.activeElement);
	const to = {ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1}[e.key];
	if (to === undefined || !all[to]) return;
	all[to].focus();
	e.preventDefault();
});

// "/" goes to the search field, as on many pages.
addEventListener("keydown", e => {
	if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, textarea, select") || document.querySelector("dialog")) return;
	const field = document.querySelector("main input[type=search]");
	if (!field) return;
	field.focus();
	e.preventDefault();
});

// --- the connection ---

const words = {connecting: "Connecting", live: "Live", paused: "Paused", lost: "Disconnected", ended: "Refused"};

function connection() {
	const {state, detail, hello} = live, old = state === "lost" || state === "ended";
	setAttribute($("connection"), "data-state", state);
	setText($("connection-text"), words[state]);
	$("pause").disabled = old;
	document.body.classList.toggle("is-old", old && live.last !== undefined);
	$("old").hidden = !old;
	$("again").hidden = state !== "lost";
	if (hello) setText($("server"), `${hello.program} on ${hello.host} · pid ${hello.pid} · ${hello.go}`);
	if (shown) title();
	if (old) tellOld(detail);
}

// tellOld says that the data is old. It has no seconds that count down, since all of it is read out when it changes.
function tellOld({reason}) {
	const since = live.last ? `What you see is of ${moment(live.last)}.` : "There is no data yet.";
	const why = reason && reason !== "The connection is lost." ? ` (${reason})` : "";
	setText($("old-text"), live.state === "ended"
		? `The server refuses this page${why}. ${since}`
		: `No connection to the server${why}. ${since} The page connects again by itself.`);
}

live.addEventListener("state", connection);
$("again").addEventListener("click", () => live.again());
$("pause").addEventListener("click", () => {
	if (live.paused) live.resume();
	else live.pause();
	setAttribute($("pause"), "aria-pressed", live.paused);
	$("pause").replaceChildren(icon(live.paused ? "play" : "pause"), h("span", {}, live.paused ? "Resume" : "Pause"));
});

live.watch("overview", "overview", {}, (overview, error) => {
	if (error) return;
	app.overview = overview;
	for (const [name, {number, if: wanted}] of Object.entries(views)) {
		if (wanted) links[name].link.hidden = !wanted(overview);
		if (number) setText(links[name].number, count(number(overview)));
	}
	setAttribute($("server"), "title", live.hello ? `Inspected for ${age(live.now - live.hello.started)}` : "");
	app.onoverview?.(overview);
});
show();
