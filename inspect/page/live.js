// The connection to the handler: calls, and watches, which are calls that the server repeats.
import {calls, CallError} from "./calls.js";
import {ReconnectingWebSocket} from "./edgews.js";

export {CallError};

// Live has a state: "connecting", "live", "paused", "lost" (it connects again) or "ended" (it does not). After a change it emits "state",
// and after each message "news".
export class Live extends EventTarget {
	#socket;
	#call;
	#watches = new Map(); // by name
	#paused = false;
	#open = false;
	#skew = 0; // of the server's clock against this one

	constructor() {
		super();
		this.state = "connecting";
		this.#socket = new ReconnectingWebSocket(new URL("socket", document.baseURI), {maxDelay: 5000});
		this.#call = calls(this.#socket);
		this.#socket.addEventListener("open", () => this.#opened());
		this.#socket.addEventListener("message", e => this.#heard(e.data));
		this.#socket.addEventListener("close", () => this.#lost());
		this.#socket.addEventListener("wait", ({detail}) => this.#waits(detail));
		this.#socket.addEventListener("end", ({detail}) => this.#ended(detail));
		document.addEventListener("visibilitychange", () => this.#refresh());
	}

	// now returns the server's time in milliseconds.
	get now() { return Date.now() + this.#skew; }

	// call makes a request. Without a connection it fails at once: what was to be done then may be wrong later.
	async call(type, fields) {
		if (!this.#open) throw new CallError("closed", "There is no connection to the server.");
		return this.#call(type, fields);
	}

	// watch has the server repeat a call until unwatch. A watch of the same name is replaced. take(result, error, fresh) gets what comes; fresh
	// says that it is the first result since the watch, or the connection, began.
	watch(name, call, params, take, every = 1000) {
		this.#watches.set(name, {call, params, take, every, fresh: true});
		this.#send(name);
	}

	unwatch(name) {
		if (this.#watches.delete(name) && this.#open) this.#ignoring("unwatch", {watch: name});
	}

	// pause stops all watches until resume.
	pause() { this.#setPaused(true); }
	resume() { this.#setPaused(false); }
	get paused() { return this.#paused; }

	// again makes an attempt to connect now.
	again() { dispatchEvent(new Event("online")); }

	#setPaused(paused) {
		this.#paused = paused;
		this.#refresh();
		if (this.#open) this.#become(paused ? "paused" : "live");
	}

	// #refresh starts or stops the watches of a page that is paused, hidden or neither.
	#refresh() {
		if (!this.#open) return;
		for (const [name, watch] of this.#watches) {
			if (this.#quiet()) this.#ignoring("unwatch", {watch: name});
			else {
				watch.fresh = true;
				this.#send(name);
			}
		}
	}

	#quiet() { return this.#paused || document.hidden; }

	#send(name) {
		if (!this.#open || this.#quiet()) return;
		const watch = this.#watches.get(name);
		this.#call("watch", {watch: name, call: watch.call, params: watch.params, every: watch.every}).catch(error => {
			if (error.code !== "closed" && this.#watches.get(name) === watch) watch.take(undefined, error, watch.fresh);
		});
	}

	// #ignoring makes a call whose failure has no consequence: the connection is lost, and with it what the call was to end.
	#ignoring(type, fields) { this.#call(type, fields).catch(() => {}); }

	async #opened() {
		this.#open = true;
		try {
			this.hello = await this.#call("hello");
		} catch (error) {
			if (error.code !== "closed") this.#become("lost", {reason: error.message});
			return;
		}
		this.#skew = this.hello.now - Date.now();
		this.#become(this.#paused ? "paused" : "live");
		for (const [name, watch] of this.#watches) {
			watch.fresh = true;
			this.#send(name);
		}
	}

	#heard(data) {
		let update;
		try {
			update = JSON.parse(data);
		} catch {
			return; // of another protocol
		}
		const watch = update?.type === "update" ? this.#watches.get(update.watch) : undefined;
		if (!watch || this.#quiet()) return;
		const {fresh} = watch;
		watch.fresh = false;
		watch.take(update.result, update.error, fresh);
		this.last = Date.now();
		this.dispatchEvent(new Event("news"));
	}

	#lost() {
		this.#open = false;
		this.#become("lost", {reason: "The connection is lost."});
	}

	#waits({delay, reason}) {
		this.#open = false;
		this.#become("lost", {reason, next: Date.now() + delay});
	}

	#ended({reason, code}) {
		this.#open = false;
		this.#become("ended", {reason: reason || `code ${code}`});
	}

	#become(state, detail = {}) {
		this.state = state;
		this.detail = detail;
		this.dispatchEvent(new Event("state"));
	}
}
