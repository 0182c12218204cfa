// The documentation is that of the Go package github.com/edgews/edgews/client/js.
export class CallError extends Error {
	name = "CallError";
	constructor(code, message) {
		super(message || code);
		this.code = code;
	}
}

export function calls(socket, {timeout = 10000, field = "type"} = {}) {
	const waiting = new Map(); // by id
	let last = 0;

	function settle(id, f) {
		const call = waiting.get(id);
		if (!call) return;
		waiting.delete(id);
		clearTimeout(call.timer);
		f(call);
	}

	const fail = (id, code, message) => settle(id, ({reject}) => reject(new CallError(code, message)));
	const lost = () => [...waiting.keys()].forEach(id => fail(id, "closed", "the connection was lost before the reply"));
	socket.addEventListener("close", lost);
	socket.addEventListener("end", lost);
	socket.addEventListener("message", ({data}) => {
		if (typeof data !== "string" || !data.includes('"reply"')) return;
		let m;
		try {
			m = JSON.parse(data);
		} catch {
			return;
		}
		if (m?.[field] !== "reply") return;
		if (m.error) fail(m.id, m.error.code, m.error.message);
		else settle(m.id, ({resolve}) => resolve(m.result));
	});

	return (type, fields) => new Promise((resolve, reject) => {
		for (const name in fields) {
			if ([field.toLowerCase(), "id"].includes(name.toLowerCase())) throw new TypeError(`the message needs the field "${name}" for itself`);
		}
		const id = ++last, text = JSON.stringify({...fields, [field]: type, id});
		if (socket.readyState >= WebSocket.CLOSING || socket.send(text) === false) throw new CallError("closed", "there is no connection");
		const timer = timeout < 2 ** 31 && setTimeout(() => fail(id, "timeout", "there was no reply in time"), timeout); // Infinity would be 0
		waiting.set(id, {resolve, reject, timer});
	});
}
