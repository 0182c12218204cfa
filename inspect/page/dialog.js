// Questions before an action.
import {h} from "./dom.js";

// ask shows a dialog and calls act with the values of its fields, by their names, when it is confirmed. While act runs the dialog waits; if it
// fails the dialog says why and stays. It resolves to whether act has succeeded.
//
//   fields: [{name, label, value, type, options}]: type is "text" (default), "number", "textarea" or "select".
export function ask({title, text, fields = [], confirm, danger = false, act}) {
	const problem = h("p", {className: "problem", role: "alert", hidden: true});
	const inputs = fields.map(field => [field.name, input(field)]);
	const yes = h("button", {type: "submit", className: danger ? "primary danger" : "primary"}, confirm);
	const no = h("button", {type: "button", onclick: () => dialog.close()}, "Cancel");
	const form = h("form", {method: "dialog"},
		h("h2", {id: "dialog-title"}, title), h("p", {id: "dialog-text"}, text),
		inputs.map(([, element], n) => h("label", {}, fields[n].label, element)), problem, h("div", {className: "buttons"}, no, yes));
	const dialog = h("dialog", {"aria-labelledby": "dialog-title", "aria-describedby": "dialog-text"}, form);
	const before = document.activeElement;
	let done = false;
	form.addEventListener("submit", async e => {
		e.preventDefault();
		yes.disabled = true;
		problem.hidden = true;
		try {
			await act(Object.fromEntries(inputs.map(([name, element]) => [name, element.value])));
			done = true;
			dialog.close();
		} catch (error) {
			problem.textContent = error.message;
			problem.hidden = false;
			yes.disabled = false;
		}
	});
	document.body.append(dialog);
	dialog.showModal();
	(inputs[0]?.[1] ?? no).focus();
	return new Promise(resolve => dialog.addEventListener("close", () => {
		dialog.remove();
		if (before?.isConnected) before.focus();
		resolve(done);
	}));
}

function input({type = "text", value = "", options}) {
	if (type === "select") return h("select", {}, options.map(([of, label]) => h("option", {value: of, selected: of === value}, label)));
	if (type === "textarea") return h("textarea", {rows: 5, value, spellcheck: false});
	return h("input", {type, value, autocomplete: "off"});
}
