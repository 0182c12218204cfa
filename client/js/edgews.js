// The documentation is that of the Go package github.com/edgews/edgews/client/js.
const {CONNECTING, OPEN, CLOSING, CLOSED} = WebSocket;

export class ReconnectingWebSocket extends EventTarget {
	#url; #options; #beat;
	#state = CONNECTING;
	#socket; // the browser's, while there is one
	#since; // when it opened
	#timer; // of the attempt, the heartbeat or the wait
	#asked = 0; // unanswered heartbeats
	#probe; // of a failed handshake
	#attempts = 0; // since a connection was stable
	#told; // by the server how long to wait
	#queue = [];
	#queued = 0; // bytes
	#ended = new AbortController();

	constructor(url, {protocols, minDelay = 1000, maxDelay = 30000, heartbeat = {}, cursor, cursorParam = "cursor", maxQueue = 1 << 20} = {}) {
		super();
		this.#url = new URL(url, location);
		this.#url.protocol = this.#url.protocol.replace("http", "ws");
		this.#options = {protocols, minDelay, maxDelay, cursor, cursorParam, maxQueue};
		this.#beat = heartbeat && {request: "ping", response: "pong", interval: 25000, timeout: 10000, ...heartbeat};
		this.#dial();
		const {signal} = this.#ended, on = (type, f) => addEventListener(type, f, {signal});
		on("online", this.#check);
		on("offline", this.#check);
		on("visibilitychange", () => document.hidden || this.#check());
		on("pageshow", e => e.persisted && this.#check());
		on("pagehide", () => { // else the back button may not find it
			if (!this.#socket || this.#state === CLOSING) return;
			this.#socket.close();
			this.#forget({code: 1001, reason: "page hidden"});
		});
	}

	get url() { return this.#url.href; }
	get readyState() { return this.#state; }
	get protocol() { return this.#socket?.protocol ?? ""; }
	get extensions() { return this.#socket?.extensions ?? ""; }
	get bufferedAmount() { return this.#queued + (this.#socket?.bufferedAmount ?? 0); }

	send(data) {
		if (this.#state === OPEN) this.#socket.send(data);
		if (this.#state !== CONNECTING) return this.#state === OPEN;
		const copy = new Blob([data]);
		if (this.#queued + copy.size > this.#options.maxQueue) return false;
		this.#queued += copy.size;
		this.#queue.push(typeof data === "object" ? copy : data);
		return true;
	}

	close(code, reason) {
		if (this.#state >= CLOSING) return;
		this.#socket?.close(code, reason);
		clearTimeout(this.#timer);
		if (this.#since) this.#state = CLOSING;
		else this.#end(code ?? 1005, reason ?? "");
	}

	#emit(type, detail) { this.dispatchEvent(new CustomEvent(type, {detail})); }

	#after(delay, f) {
		clearTimeout(this.#timer);
		this.#timer = setTimeout(f, delay);
	}

	#dial = () => {
		this.#probe = this.#told = null;
		// Without a network, this machine can be reached.
		if (!navigator.onLine && !/^(localhost|127\.|\[::1)/.test(this.#url.hostname)) {
			return this.#emit("wait", {delay: Infinity, code: 1006, reason: "offline"});
		}
		const {cursor, cursorParam, protocols} = this.#options, url = new URL(this.#url), value = cursor?.();
		if (value !== undefined) url.searchParams.set(cursorParam, value);
		const socket = this.#socket = new WebSocket(url.href, protocols);
		socket.binaryType = "arraybuffer";
		socket.onopen = () => {
			this.#state = OPEN;
			this.#since = Date.now();
			this.#alive();
			this.#queue.splice(0).forEach(data => socket.send(data));
			this.#queued = 0;
			this.dispatchEvent(new Event("open"));
		};
		socket.onmessage = ({data}) => {
			this.#alive();
			if (data !== this.#beat?.response) this.dispatchEvent(new MessageEvent("message", {data}));
		};
		socket.onclose = this.#lost;
		this.#after(30000, this.#drop);
	};

	#alive() {
		this.#asked = 0;
		clearTimeout(this.#timer);
		if (this.#beat) this.#after(this.#beat.interval, this.#check);
	}

	#check = () => {
		if (this.#state === OPEN && this.#beat && !this.#asked) this.#ask();
		if (this.#state === CONNECTING && !this.#socket && !this.#told) this.#dial();
	};

	#ask() {
		const {request, timeout} = this.#beat, due = Date.now() + timeout;
		this.#asked++;
		this.#socket.send(request);
		// After a freeze or a sleep the answer may not be delivered yet: it asks again.
		this.#after(timeout, () => this.#asked < 2 && Date.now() > due + 2000 ? this.#ask() : this.#drop());
	}

	#drop = () => {
		this.#socket.close();
		this.#lost({code: 1006, reason: "no answer"});
	};

	#forget(end) {
		const since = this.#since;
		if (this.#socket) this.#socket.onclose = null;
		clearTimeout(this.#timer);
		this.#socket = this.#probe = this.#since = null;
		this.#asked = 0;
		if (this.#state === OPEN) this.#state = CONNECTING;
		if (since) this.dispatchEvent(new CloseEvent("close", end));
		return since;
	}

	#lost = async end => {
		const {code, reason} = end, {minDelay, maxDelay} = this.#options, {url} = this.#socket, since = this.#forget(end);
		if (this.#state === CLOSED) return; // a listener has closed it
		if (this.#state === CLOSING || code === 1008) return this.#end(code, reason);
		if (since && Date.now() - since >= 60000) this.#attempts = 0;
		let delay = Math.random() * Math.min(minDelay * 2 ** this.#attempts++, maxDelay);
		if (this.#told = [1012, 1013].includes(code)) delay = Math.min(5000 + Math.random() * 25000, maxDelay);
		if (!since) {
			const probe = this.#probe = get(url), [status, rest] = await probe;
			if (probe !== this.#probe) return; // it has dialed, or ended
			if (/^4(?!08|25|26|29)/.test(status)) return this.#end(1006, `HTTP ${status}`);
			delay += this.#told = rest;
		}
		this.#after(delay, this.#dial);
		this.#emit("wait", {delay, code, reason});
	};

	#end(code, reason) {
		this.#forget();
		this.#state = CLOSED;
		this.#ended.abort();
		this.#emit("end", {code, reason});
	}
}

// get returns the status and Retry-After (ms) of a GET, since a browser does not say how it was refused.
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
