// The view of what the process has used, and what it costs.
import {h, setText} from "./dom.js";
import {search, select} from "./fields.js";
import {count, duration, short} from "./format.js";
import {dollars, figures} from "./view_objects.js";

const most = 200; // tenants that are shown

export class Bill {
	constructor(app) {
		this.app = app;
		this.plan = select("Plan", "plan", [["", "First plan"]]);
		this.search = search("Search tenants", "Tenant");
		this.problem = h("p", {className: "problem", role: "status", hidden: true});
		this.plans = h("section", {className: "tiles plans", "aria-label": "Plans"});
		this.lines = h("section", {className: "card panel", "aria-labelledby": "lines"});
		this.tenants = h("section", {className: "card panel", "aria-labelledby": "tenants"});
		this.usage = h("section", {className: "card panel", "aria-labelledby": "usage"});
		this.body = h("div", {className: "sections"}, this.plans, this.lines, h("div", {className: "halves"}, this.tenants, this.usage));
		this.element = h("div", {className: "view"}, h("div", {className: "bar"}, h("h1", {}, "Bill"), this.plan.element, this.search.element), this.problem, this.body);
		this.body.hidden = true;
	}

	update(params) {
		const plan = params.get("plan") ?? "", q = params.get("q") ?? "";
		this.plan.show(plan);
		this.search.show(q);
		this.q = q;
		this.app.live.watch("bill", "bill", {plan, search: q, limit: most}, (report, error) => this.#take(report, error), 2000);
	}

	#take(report, error) {
		this.problem.hidden = !error;
		if (error) return setText(this.problem, this.app.live.hello.meter ? error.message : "There is no meter: the inspector was made without Options.Meter, so it knows no bill.");
		this.body.hidden = false;
		const [first, ...others] = this.app.live.hello.plans;
		this.plan.options([["", first], ...others.map(name => [name, name])]);
		this.#showPlans(report);
		this.lines.replaceChildren(h("h2", {id: "lines"}, `${report.bill.plan}: what was used so far`), lines(report.bill));
		this.tenants.replaceChildren(h("h2", {id: "tenants"}, "Tenants"), ...[tenants(report, this.q)].flat());
		this.usage.replaceChildren(h("h2", {id: "usage"}, "Usage"), usage(report.usage ?? []));
	}

	#showPlans({plans}) {
		this.plans.replaceChildren(...plans.map(p => h("div", {className: "card tile", role: "group", "aria-label": `${p.plan}: ${dollars(p.cost)}`},
			h("span", {className: "name"}, p.plan), h("span", {className: "figure"}, dollars(p.cost)),
			h("span", {className: "more"}, `without hibernation ${dollars(p.always_on)}`),
			h("span", {className: "more saved"}, saving(p)))));
	}

	leave() { this.app.live.unwatch("bill"); }
}

// saving says what hibernation saves by a plan.
function saving({saved, saved_at_prices}) {
	if (/[1-9]/.test(saved)) return `it saves ${dollars(saved)}`;
	return /[1-9]/.test(saved_at_prices) ? `it saves ${figures(saved_at_prices)} of what the plan includes` : "it saves nothing yet";
}

const numbers = titles => titles.map(title => h("th", {scope: "col", className: "number"}, title));
const cells = values => values.map(value => h("td", {className: "number"}, value));
const table = (label, head, body, foot) => h("div", {className: "scrolls", tabIndex: 0, role: "region", "aria-labelledby": label},
	h("table", {"aria-labelledby": label}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body), foot && h("tfoot", {}, foot)));

function lines({lines: list, total}) {
	const body = (list ?? []).map(l => h("tr", {}, h("th", {scope: "row"}, l.item),
		cells([`${count(l.quantity)} ${l.unit}`, count(l.included), count(l.billed), l.per > 1 ? `${dollars(l.price)} per ${short(l.per)}` : dollars(l.price), dollars(l.cost)])));
	return table("lines", [h("th", {scope: "col"}, "Item"), ...numbers(["Used", "Included", "Billed", "Price", "Cost"])], body,
		h("tr", {}, h("th", {scope: "row", colSpan: 5}, "Total"), cells([dollars(total)])));
}

function tenants({tenants: list, total}, q) {
	if (!list?.length) return h("p", {className: "note"}, q && total ? "No tenant matches the search." : "No usage has a tenant.");
	const body = list.map(t => h("tr", {}, h("th", {scope: "row"}, t.tenant || "(none)"), cells([figures(t.cost), figures(t.saved), short(t.connections), short(t.messages), duration(t.active)])));
	return [h("p", {className: "note"}, "At the prices of the plan, without base fee and included amounts. Saved is what hibernation has saved."), table("tenants", [h("th", {scope: "col"}, "Tenant"), ...numbers(["Cost", "Saved", "Sockets", "Messages", "Active"])], body)];
}

const durations = ["Active", "Connected", "Busy"];

function usage(list) {
	const body = list.map(({name, value}) => h("tr", {}, h("th", {scope: "row"}, name.replace(/([a-z])([A-Z])/g, "$1 $2")), cells([durations.includes(name) ? duration(value) : count(value)])));
	return table("usage", [h("th", {scope: "col"}, "Item"), ...numbers(["Amount"])], body);
}
