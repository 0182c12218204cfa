// The documentation is that of the Go package github.com/edgews/edgews/client/js.
const {CONNECTING, OPEN, CLOSING, CLOSED} = WebSocket;

export class ReconnectingWebSocket extends EventTarget {
	#client;

	constructor(url, options = {}) {
		super();
		for (const type of ["open", "message", "close", "wait", "end"]) this.addEventListener(type, e => this["on" + type]?.(e));
		this.#client = start(new URL(url, location), options, event => this.dispatchEvent(event));
	}

	get url() { return this.#client.url; }
	get readyState() { return this.#client.state; }
	get protocol() { return this.#client.socket?.protocol ?? ""; }
	get extensions() { return this.#client.socket?.extensions ?? ""; }
	get bufferedAmount() { return this.#client.buffered; }
	send(data) { return this.#client.send(data); }
	close(code, reason) { this.#client.close(code, reason); }
}

function start(base, {protocols, minDelay = 1000, maxDelay = 30000, heartbeat = {}, cursor, cursorParam = "cursor", maxQueue = 1 << 20}, emit) {
	const {request = "ping", response = "pong", interval = 25000, timeout = 10000} = heartbeat ?? {};
	const queue = [], ended = new AbortController();
	let state = CONNECTING, queued = 0; // bytes in queue
	let socket; // the browser's, if there is one
	let since; // when socket opened
	let timer; // of the attempt, the heartbeat or the wait
	let asked; // unanswered heartbeats
	let probe; // the GET after a failed handshake
	let told; // whether the server has said how long to wait
	let attempts = 0; // since a connection was stable

	base.protocol = base.protocol.replace("http", "ws");
	attempt();
	const on = (type, f) => addEventListener(type, f, {signal: ended.signal});
	on("online", check);
	on("offline", check);
	on("visibilitychange", () => document.hidden || check());
	on("pageshow", e => e.persisted && check());
	on("pagehide", () => { // for the back/forward cache
		if (!socket || state === CLOSING) return;
		socket.close();
		forget({code: 1001, reason: "page hidden"});
	});
	return {url: base.href, send, close, get state() { return state; }, get socket() { return socket; }, get buffered() { return queued + (socket?.bufferedAmount ?? 0); }};

	function send(data) {
		if (state >= CLOSING) return false;
		if (socket?.readyState === OPEN) {
			socket.send(data);
			return true;
		}
		const copy = new Blob([data]); // the page may change data
		if (queued + copy.size > maxQueue) return false;
		queued += copy.size;
		queue.push(typeof data === "object" ? copy : data);
		return true;
	}

	function close(code, reason) {
		if (state >= CLOSING) return;
		socket?.close(code, reason);
		clearTimeout(timer);
		if (since) state = CLOSING;
		else end(code ?? 1005, reason ?? "");
	}

	function after(delay, f) {
		clearTimeout(timer);
		timer = setTimeout(f, delay);
	}

	function tell(type, detail) { emit(new CustomEvent(type, {detail})); }

	function dial() {
		try {
			attempt();
		} catch (error) { // of cursor
			end(1006, String(error));
		}
	}

	function attempt() {
		forget();
		told = false;
		// This machine can be reached without a network.
		if (!navigator.onLine && !/^(localhost|127\.|\[::1)/.test(base.hostname)) {
			return tell("wait", {delay: Infinity, code: 1006, reason: "offline"});
		}
		const url = new URL(base), value = cursor?.();
		if (value !== undefined) url.searchParams.set(cursorParam, value);
		socket = new WebSocket(url.href, protocols);
		socket.binaryType = "arraybuffer";
		socket.onopen = opened;
		socket.onmessage = ({data}) => {
			alive();
			if (!heartbeat || data !== response) emit(new MessageEvent("message", {data}));
		};
		socket.onclose = lost;
		after(30000, drop);
	}

	function opened() {
		state = OPEN;
		since = Date.now();
		alive();
		queue.splice(0).forEach(data => socket.send(data));
		queued = 0;
		emit(new Event("open"));
	}

	function alive() {
		asked = 0;
		clearTimeout(timer);
		if (heartbeat) after(interval, check);
	}

	function check() {
		if (state === OPEN && heartbeat && !asked) ask();
		if (state === CONNECTING && !socket && !told) dial();
	}

	function ask() {
		const due = Date.now() + timeout;
		asked++;
		socket.send(request);
		// After a freeze or a sleep the answer may not be delivered yet: it asks again.
		after(timeout, () => asked < 2 && Date.now() > due + 2000 ? ask() : drop());
	}

	function drop() {
		socket.close();
		lost({code: 1006, reason: "no answer"});
	}

	// forget returns when the forgotten socket opened.
	function forget(end) {
		const opened = since;
		if (socket) socket.onclose = null;
		clearTimeout(timer);
		socket = probe = since = null;
		asked = 0;
		if (state === OPEN) state = CONNECTING;
		if (opened) emit(new CloseEvent("close", end));
		return opened;
	}

	async function lost(e) {
		let {code, reason} = e, {url} = socket, opened = forget(e);
		if (state === CLOSED) return; // a listener has closed it
		if (state === CLOSING || code === 1008) return end(code, reason);
		if (opened && Date.now() - opened >= 60000) attempts = 0;
		let delay = Math.random() * Math.min(minDelay * 2 ** attempts++, maxDelay);
		if (told = [1012, 1013].includes(code)) delay = Math.min(5000 + Math.random() * 25000, maxDelay);
		if (!opened) {
			const current = probe = get(url), [status, rest] = await current;
			if (probe !== current) return; // it has dialed, or ended
			if (status) reason ||= `HTTP ${status}`;
			if (/^4(?!08|25|26|29)/.test(status)) return end(code, reason);
			delay += told = rest;
		}
		after(delay, dial);
		tell("wait", {delay, code, reason});
	}

	function end(code, reason) {
		forget();
		state = CLOSED;
		ended.abort();
		tell("end", {code, reason});
	}
}

// get returns status and Retry-After (ms) of a GET: a browser does not say how it was refused.
async function get(url) {
	try {
		const {status, headers, body} = await fetch(url.replace("ws", "http"), {cache: "no-store", credentials: "include", signal: AbortSignal.timeout(10000)});
		body?.cancel();
		const after = headers.get("Retry-After");
		return [status, Math.max(0, Math.min(after * 1000 || Date.parse(after) - Date.now(), 36e5)) || 0];
	} catch {
		return [0, 0];
	}
}
