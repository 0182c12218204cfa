// Elements of the page. All text that comes from the server is set as text, never as HTML.

// h makes an element. Properties whose names have a "-" or are "role" become attributes, "on…" become listeners, the rest is assigned.
// Children are nodes and strings; null and false are left out.
export function h(tag, properties = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(properties)) {
		if (value === undefined || value === null) continue;
		if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
		else if (name.includes("-") || name === "role") element.setAttribute(name, value);
		else element[name] = value;
	}
	element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
	return element;
}

export const $ = id => document.getElementById(id);

// setText changes the text of an element if it is another one, so that what has not changed is not laid out again.
export function setText(element, text) {
	if (element.firstElementChild || element.textContent !== text) element.textContent = text;
}

// setAttribute sets an attribute if it has another value.
export function setAttribute(element, name, value) {
	if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// setOnce replaces the children of an element by those that make returns, if key is not the one of the last call.
export function setOnce(element, key, make) {
	if (element.madeFor === key) return;
	element.madeFor = key;
	element.replaceChildren(...[make()].flat());
}

// icon returns one of the pictures of index.html. It has no name: the text beside it says what it means.
export function icon(name) {
	const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), use = document.createElementNS("http://www.w3.org/2000/svg", "use");
	svg.setAttribute("class", "icon");
	svg.setAttribute("aria-hidden", "true");
	use.setAttribute("href", "#icon-" + name);
	svg.append(use);
	return svg;
}

// badge returns a word with a coloured dot. The colour says nothing that the word does not say.
export const badge = (text, tone = "plain") => h("span", {className: `badge ${tone}`}, text);

// tags returns a list of short words.
export const tags = list => list.map(tag => h("span", {className: "tag"}, tag));

// definitions returns a list of names and values. Values are strings or nodes; those without a value are left out.
export function definitions(pairs) {
	const list = h("dl", {className: "facts"});
	for (const [name, value] of pairs) {
		if (value === undefined || value === null || value === "") continue;
		list.append(h("div", {}, h("dt", {}, name), h("dd", {}, value)));
	}
	return list;
}
