// The stored keys and values of an object, read only.
import {h, setText} from "./dom.js";
import {choice} from "./fields.js";
import {bytes} from "./format.js";

const portion = 25; // entries that are read at a time

export class Storage {
	constructor(app, object) {
		Object.assign(this, {app, object, prefix: "", as: ""});
		this.list = h("div", {className: "entries", role: "list"});
		this.problem = h("p", {className: "problem", role: "alert", hidden: true});
		this.status = h("p", {className: "note", role: "status"}, "Not read yet: reading it does not wake the object.");
		this.more = h("button", {type: "button", hidden: true, onclick: () => this.#read(this.last)}, "More");
		this.field = h("input", {
			type: "search", placeholder: "Prefix of the keys", "aria-label": "Prefix of the keys", autocomplete: "off", spellcheck: false,
			onchange: () => this.read(), onkeydown: e => e.stopPropagation(),
		});
		const as = choice("Show values as", [["", "Auto"], ["text", "Text"], ["json", "JSON"], ["hex", "Hex"]], "", value => {
			this.as = value;
			this.read();
		});
		this.element = h("section", {"aria-label": "Storage"}, h("h3", {}, "Storage"),
			h("div", {className: "bar"}, this.field, as, this.reader = h("button", {type: "button", onclick: () => this.read()}, "Read")),
			this.status, this.problem, this.list, this.more);
	}

	// read shows the first keys and values as they are now.
	read() {
		this.list.replaceChildren();
		this.reader.textContent = "Read again";
		return this.#read();
	}

	async #read(after) {
		const asked = this.asked = {};
		try {
			const {entries, more} = await this.app.live.call("storage", {...this.object, prefix: this.field.value, after, limit: portion});
			const shown = await Promise.all((entries ?? []).map(entry => this.#value(entry)));
			if (this.asked !== asked) return;
			this.problem.hidden = true;
			this.list.append(...shown);
			this.last = entries?.at(-1)?.cursor;
			this.more.hidden = !more;
			setText(this.status, this.#summary(more));
		} catch (error) {
			this.problem.hidden = false;
			setText(this.problem, error.message);
		}
	}

	#summary(more) {
		const n = this.list.childElementCount;
		if (n === 0) return this.field.value ? "No key has this prefix." : "Nothing is stored.";
		return `${more ? "The first " : ""}${n} ${n === 1 ? "key" : "keys"}.`;
	}

	// #value returns an entry with its value in the form that is chosen.
	async #value(entry) {
		if (!this.as || this.as === entry.as) return this.#entry(entry, entry);
		try {
			return this.#entry(entry, await this.#part(entry, this.as));
		} catch (error) {
			if (error.code !== "bad_request") throw error; // it is no JSON
			return this.#entry(entry, entry);
		}
	}

	#part({cursor}, as, offset) { return this.app.live.call("value", {...this.object, cursor, as, offset}); }

	#entry(entry, value) {
		const text = h("pre", {tabIndex: 0, "aria-label": `Value of ${entry.key}`}, spaced(value));
		const item = h("div", {className: "entry", role: "listitem"},
			h("div", {}, h("span", {className: "key"}, entry.key),
				h("span", {className: "size"}, value.redacted && h("span", {className: "masked"}, "masked "), `${value.as}, ${bytes(entry.size)}`)), text);
		if (value.cut) item.append(this.#whole(entry, value, text));
		return item;
	}

	// #whole returns a button that reads on in a value that is cut.
	#whole(entry, value, text) {
		let next = 0; // what the list has is read again, in large parts
		const button = h("button", {type: "button", className: "plain", onclick: async () => {
			try {
				const part = await this.#part(entry, value.as, next);
				text.textContent = (next ? text.textContent : "") + spaced(part);
				next = part.next ?? 0;
				button.hidden = !part.cut || !next;
			} catch (error) {
				this.problem.hidden = false;
				setText(this.problem, error.message);
			}
		}}, "Show more of it");
		return button;
	}
}

// spaced returns the text of a value, bytes in hexadecimal with spaces between groups of four.
const spaced = ({as, text}) => as === "hex" ? text.replace(/.{8}(?=.)/g, "$& ") : text;
