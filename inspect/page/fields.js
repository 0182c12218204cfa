// Fields by which views are searched and filtered. Their values are in the fragment of the URL.
import {h, icon} from "./dom.js";
import {change} from "./route.js";

const typing = 180; // milliseconds without another key, after which a search begins

// search returns a field for the parameter "q". show sets its value, but not while somebody types in it.
export function search(label, placeholder) {
	let timer;
	const input = h("input", {
		type: "search", placeholder, "aria-label": label, autocomplete: "off", spellcheck: false, "aria-keyshortcuts": "/",
		oninput: () => {
			clearTimeout(timer);
			timer = setTimeout(() => change({q: input.value, id: ""}, {replace: true}), typing);
		},
	});
	return {
		element: h("div", {className: "find", role: "search"}, icon("search"), input),
		show(value) { if (document.activeElement !== input) input.value = value ?? ""; },
	};
}

// select returns a field with a few values for a parameter: [[value, text], …], where "" is the value of the first.
export function select(label, name, options) {
	const input = h("select", {"aria-label": label, onchange: () => change({[name]: input.value, id: ""}, {replace: true})});
	const field = {
		element: input,
		options(list) {
			const key = JSON.stringify(list);
			if (field.key === key) return;
			field.key = key;
			const {value} = input;
			input.replaceChildren(...list.map(([of, text]) => h("option", {value: of}, text)));
			field.show(value);
		},
		show(value) {
			const wanted = value ?? "";
			if (![...input.options].some(option => option.value === wanted)) input.append(h("option", {value: wanted}, wanted));
			input.value = wanted;
		},
	};
	field.options(options);
	return field;
}

let choices = 0;

// choice returns a few values side by side, of which one is chosen.
export function choice(label, options, chosen, take) {
	const name = `choice-${++choices}`;
	return h("fieldset", {className: "choice"}, h("legend", {className: "unseen"}, label), options.map(([value, text]) =>
		h("label", {}, h("input", {type: "radio", name, value, checked: value === chosen, onchange: () => take(value)}), text)));
}

// sorting returns the fields of a query for a sort of the URL: "rate", or "-rate" for falling.
export function sorting(sort) {
	return sort.startsWith("-") ? {sort: sort.slice(1), desc: true} : {sort};
}
