// What the page shows is in the fragment of its URL, so that it can be shared: #sockets?q=lobby&sort=-in&id=12.

// read returns the name of the view and its parameters.
export function read() {
	const fragment = location.hash.slice(1), at = fragment.indexOf("?");
	return {
		view: (at < 0 ? fragment : fragment.slice(0, at)) || "overview",
		params: new URLSearchParams(at < 0 ? "" : fragment.slice(at + 1)),
	};
}

// href returns the fragment for a view. Parameters without a value are left out.
export function href(view, params = {}) {
	const query = new URLSearchParams();
	for (const [name, value] of Object.entries(params)) {
		if (value !== undefined && value !== null && value !== "") query.set(name, value);
	}
	const text = query.toString();
	return "#" + view + (text && "?" + text);
}

// change sets some parameters of the view that is shown. With replace the browser's history gets no new entry: for typing.
export function change(params, {replace = false} = {}) {
	const now = read(), next = href(now.view, {...Object.fromEntries(now.params), ...params});
	if (next === location.hash) return;
	if (!replace) {
		location.hash = next;
		return;
	}
	history.replaceState(null, "", next);
	dispatchEvent(new HashChangeEvent("hashchange"));
}
