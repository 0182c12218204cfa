package inspectpage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/edgews/edgews/examples/internal/browser"
)

// newProcess starts a process with some sockets and objects, which ends with the test.
func newProcess(t *testing.T, p *process) *process {
	t.Helper()
	p.t = t
	p.start()
	t.Cleanup(p.kill)
	return p
}

// open opens the page with a fragment, in a window of a size.
func (p *process) open(tab context.Context, fragment string, width, height int64) {
	p.t.Helper()
	browser.Act(p.t, tab, chromedp.EmulateViewport(width, height), chromedp.Navigate("about:blank"), chromedp.Navigate("http://"+p.addr+"/debug/edgews/"+fragment))
	browser.Holds(p.t, tab, "live", live)
}

const live = `document.getElementById("connection").dataset.state === "live"`

// rows is how many rows of a list are elements.
const rows = `document.querySelectorAll(".space .row").length`

var all = []struct{ name, fragment, loaded string }{
	{"overview", "", `document.querySelectorAll(".chart canvas").length === 8 && document.querySelector("[data-tile=sockets] .figure").textContent === "10,000"`},
	{"sockets", "#sockets", rows + " > 10"},
	{"socket", "#sockets?id=3", `document.querySelector(".details").textContent.includes("does not read")`},
	{"objects", "#objects", rows + " > 5"},
	{"object", "#objects?ns=rooms&id=" + objectID(1), `document.querySelector(".reasons").textContent.includes("main.go:42")`},
	{"alarms", "#alarms", rows + " > 5"},
	{"bill", "#bill", `document.querySelector(".plans").textContent.includes("it saves $56.48")`},
	{"log", "#log", `document.querySelectorAll(".log li").length === 3`},
}

// media returns an action that sets a feature of media queries.
func media(name, value string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: name, Value: value}}})
		return err
	})
}

// TestViews shows every view in light and dark, on a wide and on a narrow screen: nothing is wider than the screen, and no text of the data
// is taken as HTML.
func TestViews(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 10_000, objects: 100_000, actions: true})
	for _, scheme := range []string{"light", "dark"} {
		browser.Act(t, tab, media("prefers-color-scheme", scheme))
		for _, width := range []int64{1280, 360} {
			for _, v := range all {
				p.open(tab, v.fragment, width, 800)
				browser.Holds(t, tab, "showing "+v.name, v.loaded)
				browser.Holds(t, tab, fmt.Sprintf("of the width of the screen with %s at %d", v.name, width),
					fmt.Sprintf("document.documentElement.scrollWidth <= %d && document.getElementById('main').scrollWidth <= document.getElementById('main').clientWidth", width))
				if v.name == "object" {
					browser.Evaluate(t, tab, `[...document.querySelectorAll(".details button")].find(b => b.textContent === "Read").click()`)
					browser.Holds(t, tab, "showing the storage", `document.querySelectorAll(".entry").length === 4`)
				}
				browser.Screenshot(t, tab, fmt.Sprintf("%s-%s-%d.png", v.name, scheme, width))
				browser.Evaluate(t, tab, watchPolicy)
				browser.Holds(t, tab, "within its Content-Security-Policy", `window.observed && window.violations.length === 0`)
				browser.Holds(t, tab, "safe", `window.hacked === undefined && document.querySelectorAll("main img").length === 0`)
			}
		}
	}
}

// watchPolicy collects what has violated the page's Content-Security-Policy since it was loaded, up to and with an image of another host.
const watchPolicy = `
	window.violations = [];
	window.observed = false;
	const own = "https://other.example/";
	new ReportingObserver(reports => {
		for (const {body: {blockedURL}} of reports) blockedURL?.startsWith(own) ? window.observed = true : window.violations.push(blockedURL);
	}, {types: ["csp-violation"], buffered: true}).observe();
	new Image().src = own;
`

// TestColors: the page follows the scheme of the system, and its text can be read in both.
func TestColors(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 100, objects: 100})
	seen := make(map[string]bool)
	for _, scheme := range []string{"dark", "light"} {
		browser.Act(t, tab, media("prefers-color-scheme", scheme))
		p.open(tab, "#sockets", 1280, 800)
		browser.Holds(t, tab, "showing sockets", rows+" > 10")
		browser.Holds(t, tab, "readable in "+scheme, `(() => {
			const light = color => color.match(/[\d.]+/g).slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
			const behind = e => { const b = getComputedStyle(e).backgroundColor; return b === "rgba(0, 0, 0, 0)" ? behind(e.parentElement) : b; };
			return ["h1", ".note", ".row.head .cell button", ".space .row .cell", "#views a:not([aria-current])", "#views a[aria-current]", "#server", "#connection", ".badge"].every(s => {
				const e = document.querySelector(s), [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
				return (a + 0.05) / (b + 0.05) >= 4.5;
			});
		})()`)
		seen[browserValue(t, tab, `getComputedStyle(document.body).backgroundColor`)] = true
	}
	if len(seen) != 2 {
		t.Errorf("the same background in both: %v", seen)
	}
}

// browserValue returns the text of an expression.
func browserValue(t *testing.T, tab context.Context, expression string) string {
	t.Helper()
	text, err := chromedp.Run(tab, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestLongList scrolls through 10 000 sockets and 100 000 objects, of which few are elements at a time.
func TestLongList(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 10_000, objects: 100_000})
	for _, list := range []struct{ fragment, first, last, count string }{
		{"#sockets", "#1", "#10000", "10001"},
		{"#objects", "room 1", "room 100000", "100001"},
	} {
		p.open(tab, list.fragment, 1280, 900)
		has := func(text string) string {
			return fmt.Sprintf(`[...document.querySelectorAll(".space .row:not(.loading) .cell")].some(e => e.textContent === %q)`, text)
		}
		browser.Holds(t, tab, "at the beginning", has(list.first))
		browser.Evaluate(t, tab, `window.most = 0; window.grid = document.querySelector(".grid");
			new MutationObserver(() => { window.most = Math.max(window.most, `+rows+`); }).observe(grid, {childList: true, subtree: true})`)
		for _, share := range []string{"0.1", "0.37", "0.5", "0.92", "1"} {
			browser.Evaluate(t, tab, "grid.scrollTop = grid.scrollHeight * "+share)
			browser.Holds(t, tab, "showing the rows at "+share, rows+` > 10 && [...document.querySelectorAll(".space .row")].every(e => !e.classList.contains("loading")) && (() => {
				const box = grid.getBoundingClientRect(), at = document.elementFromPoint(box.left + 300, box.top + box.height / 2).closest(".row");
				return at?.getAttribute("aria-rowindex") * 1 === at?.index + 2;
			})()`)
		}
		browser.Holds(t, tab, "at the end", has(list.last))
		browser.Holds(t, tab, "with few elements", fmt.Sprintf("window.most <= 100 && %s <= 100 && grid.getAttribute('aria-rowcount') === '%s'", rows, list.count))
	}
}

// TestSearch: what is searched is asked of the server, and is in the URL.
func TestSearch(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 10_000, objects: 1000})
	p.open(tab, "#sockets", 1280, 800)
	// A key of chromedp is two inputs, and the second would go to the field that has the focus by then.
	browser.Evaluate(t, tab, `document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true}))`)
	browser.Act(t, tab, chromedp.KeyEvent("user:505"))
	browser.Holds(t, tab, "showing the results", `document.querySelector(".bar .note").textContent === "3 of 10,000"`)
	browser.Holds(t, tab, "telling screen readers", `document.getElementById("said").textContent === "3 of 10,000"`)
	browser.Holds(t, tab, "with a URL that can be shared", `location.hash === "#sockets?q=user%3A505"`)
	browser.Act(t, tab, chromedp.Reload())
	browser.Holds(t, tab, "showing the same", `document.querySelector(".bar .note").textContent === "3 of 10,000" && document.querySelector("input[type=search]").value === "user:505"`)
	p.open(tab, "#sockets?state=slow", 1280, 800)
	browser.Holds(t, tab, "showing the slow one", rows+` === 1 && document.querySelector(".space .row").textContent.includes("524 kB")`)
	p.open(tab, "#sockets?q=nothing", 1280, 800)
	browser.Holds(t, tab, "saying that there is none", `document.querySelector(".list .none").textContent === "No socket matches the search."`)
}

// TestKeyboard goes to a socket, and back, with the keyboard alone.
func TestKeyboard(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 10_000, objects: 1000, actions: true})
	p.open(tab, "#sockets", 1280, 800)
	browser.Holds(t, tab, "showing sockets", rows+" > 10")
	tabTo := func(what, selector string) {
		t.Helper()
		for range 40 {
			browser.Act(t, tab, chromedp.KeyEvent(kb.Tab))
			if browserValue(t, tab, fmt.Sprintf("document.activeElement.matches(%q)", selector)) == "true" {
				browser.Holds(t, tab, "showing the focus on "+what, `document.activeElement.matches(":focus-visible") && (getComputedStyle(document.activeElement).outlineStyle !== "none" || document.activeElement.closest("label"))`)
				return
			}
		}
		t.Fatalf("the tab key does not reach %s", what)
	}
	tabTo("the views", "#views a")
	tabTo("the search", "input[type=search]")
	tabTo("the list", ".grid")
	tabTo("a heading", ".row.head button")
	browser.Act(t, tab, chromedp.KeyEvent("\r"))
	browser.Holds(t, tab, "sorted falling", `document.querySelector("[role=columnheader]").getAttribute("aria-sort") === "descending" && location.hash === "#sockets?sort=-socket"`)
	browser.Act(t, tab, chromedp.KeyEvent("\r"))
	browser.Holds(t, tab, "sorted rising", `document.querySelector("[role=columnheader]").getAttribute("aria-sort") === "ascending"`)

	browser.Evaluate(t, tab, `document.querySelector(".grid").focus()`)
	active := `document.getElementById(document.querySelector(".grid").getAttribute("aria-activedescendant"))`
	browser.Act(t, tab, chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown))
	browser.Holds(t, tab, "on the third row", active+`.getAttribute("aria-rowindex") === "4"`)
	browser.Act(t, tab, chromedp.KeyEvent(kb.End))
	browser.Holds(t, tab, "on the last row", active+`.textContent.includes("#10000")`)
	browser.Act(t, tab, chromedp.KeyEvent(kb.Home))
	browser.Holds(t, tab, "on the first row", active+`?.textContent.includes("#1")`)
	browser.Act(t, tab, chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent("\r"))
	browser.Holds(t, tab, "showing socket 2, with the focus", `document.activeElement.matches(".details h2") && document.activeElement.textContent.startsWith("#2 ")`)
	browser.Act(t, tab, chromedp.KeyEvent(kb.Escape))
	browser.Holds(t, tab, "back in the list", `document.activeElement.matches(".grid") && !document.querySelector(".details")`)
}

// TestNames: a screen reader has a role and a name for everything.
func TestNames(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 10_000, objects: 100_000, actions: true})
	want := map[string][]string{
		"overview": {"heading Overview", "navigation Views", "status ", "link Overview", "group Sockets open: 10,000, 9,000 parked, 3 slow", "radio 10 min", "button Pause"},
		"sockets":  {"grid Sockets", "columnheader Peer", "button Round trip", "searchbox Search sockets by id, peer, path, tag or object", "combobox State", "gridcell #1"},
		"socket":   {"complementary Details of socket 3", "button Close the details", "button Close the socket", "button Send a message"},
		"objects":  {"grid Objects", "combobox Namespace", "columnheader Why awake"},
		"object":   {"complementary Details of object " + objectID(1), "button Hibernate now", "button Run the alarm now", "region Storage", "radio Hex", "searchbox Prefix of the keys"},
		"alarms":   {"grid Alarms", "button Run the alarm of room 1 now"},
		"bill":     {"table Usage", "rowheader requests", "group Durable Objects: $5.42", "columnheader Cost"},
		"log":      {"log Log, 3 entries, the newest first", "combobox Kind"},
	}
	for _, v := range all {
		p.open(tab, v.fragment, 1280, 800)
		browser.Holds(t, tab, "showing "+v.name, v.loaded)
		names, unnamed := tree(t, tab)
		for _, name := range want[v.name] {
			if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, name) }) {
				t.Errorf("%s: there is no %q", v.name, name)
			}
		}
		if len(unnamed) > 0 {
			t.Errorf("%s: without a name: %q", v.name, unnamed)
		}
	}
}

// tree returns "role name" of everything in the accessibility tree, and the roles of what has to have a name and has none.
func tree(t *testing.T, tab context.Context) (names, unnamed []string) {
	t.Helper()
	all := func(ctx context.Context, page *chromedp.Target) (accessibility.GetFullAXTreeResult, error) {
		return cdp.Call(ctx, page, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	}
	result, err := chromedp.Run(tab, all)
	if err != nil {
		t.Fatal(err)
	}
	text := func(v *accessibility.Value) (s string) {
		if v != nil && len(v.Value) > 0 && json.Unmarshal([]byte(v.Value), &s) != nil {
			t.Errorf("no text: %s", v.Value)
		}
		return s
	}
	for _, n := range result.Nodes {
		role, name := text(n.Role), text(n.Name)
		if n.Ignored {
			continue
		}
		names = append(names, role+" "+name)
		named := []string{"button", "link", "grid", "searchbox", "combobox", "radio", "textbox", "image", "table", "complementary", "navigation", "dialog", "heading"}
		if name == "" && slices.Contains(named, role) {
			unnamed = append(unnamed, role)
		}
	}
	return names, unnamed
}

// TestKilledServer: the page says that the server is away and of when its data is, keeps it, and goes on when the server is back.
func TestKilledServer(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 10_000, objects: 1000, actions: true})
	p.open(tab, "#sockets?id=3", 1280, 800)
	browser.Holds(t, tab, "showing the socket", `document.querySelector(".details").textContent.includes("does not read")`)
	p.kill()
	browser.Holds(t, tab, "saying so", `document.getElementById("connection").textContent.trim() === "Disconnected" && !document.getElementById("old").hidden && document.getElementById("old-text").textContent.includes("What you see is of ")`)
	browser.Holds(t, tab, "showing the last data as old", `document.body.classList.contains("is-old") && `+rows+` > 10 && document.querySelector(".details").textContent.includes("does not read")`)
	browser.Holds(t, tab, "telling screen readers", `document.getElementById("old").getAttribute("role") === "alert" && document.getElementById("connection").getAttribute("role") === "status"`)
	browser.Screenshot(t, tab, "killed.png")
	// An action is not kept for later.
	browser.Act(t, tab, browser.Click(".actions .danger"), browser.Click("dialog button[type=submit]"))
	browser.Holds(t, tab, "refusing an action", `document.querySelector("dialog .problem").textContent.includes("no connection")`)
	browser.Act(t, tab, browser.Click("dialog .buttons button[type=button]"))
	p.mu.Lock()
	p.sockets = 5000
	p.mu.Unlock()
	p.start()
	browser.Evaluate(t, tab, `document.getElementById("again").click()`) // the page may be connected again already, and the button hidden
	browser.Holds(t, tab, "live again", live+` && document.getElementById("old").hidden && !document.body.classList.contains("is-old")`)
	browser.Holds(t, tab, "showing new data", `document.querySelector(".bar .note").textContent === "5,000 open"`)
	if done := p.actionsDone(); len(done) > 0 {
		t.Errorf("an action was done later: %v", done)
	}
}

// TestEndedSocket: a link to a socket that is not open any more says so.
func TestEndedSocket(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 100, objects: 100, actions: true})
	p.open(tab, "#sockets?id=101", 1280, 800)
	browser.Holds(t, tab, "saying so", `document.querySelector(".details .problem:not([hidden])").textContent.includes("not open any more")`)
	p.open(tab, "#sockets?id=50", 1280, 800)
	browser.Holds(t, tab, "showing the socket", `document.querySelector(".details h2").textContent.startsWith("#50 10.0.0.50:")`)
	p.mu.Lock()
	p.sockets = 40
	p.mu.Unlock()
	browser.Holds(t, tab, "keeping the last data", `document.querySelector(".details .problem:not([hidden])") && document.querySelector(".details").textContent.includes("10.0.0.50:") && document.querySelector(".actions .danger").disabled`)
}

// TestActions: without the server's leave there are no buttons; with it each action is confirmed.
func TestActions(t *testing.T) {
	tab := browser.Start(t)
	object := "#objects?ns=rooms&id=" + objectID(1)
	p := newProcess(t, &process{sockets: 100, objects: 100})
	for _, fragment := range []string{"#sockets?id=3", object, "#alarms"} {
		p.open(tab, fragment, 1280, 800)
		browser.Holds(t, tab, "showing "+fragment, rows+` > 10 && !document.querySelector(".details .facts") === location.hash.startsWith("#alarms")`)
		browser.Holds(t, tab, "without actions", `document.querySelectorAll(".actions button, .space button").length === 0`)
	}

	p = newProcess(t, &process{sockets: 100, objects: 100, actions: true})
	p.open(tab, "#sockets?id=3", 1280, 800)
	browser.Act(t, tab, browser.Click(".actions .danger"))
	browser.Holds(t, tab, "asking", `document.querySelector("dialog[open] h2").textContent === "Close #3?"`)
	browser.Screenshot(t, tab, "dialog.png")
	browser.Act(t, tab, chromedp.KeyEvent(kb.Escape))
	browser.Holds(t, tab, "without the question", `!document.querySelector("dialog") && document.activeElement.textContent === "Close the socket"`)
	browser.Act(t, tab, browser.Click(".actions .danger"), browser.SetValue("dialog input[type=number]", "4000"), browser.SetValue("dialog input[type=text]", evil), browser.Click("dialog button[type=submit]"))
	browser.Holds(t, tab, "saying that it is done", `document.getElementById("said").textContent === "The socket is closed."`)
	browser.Act(t, tab, browser.Click(".actions button"), browser.SetValue("dialog textarea", "hello"), browser.Click("dialog button[type=submit]"))
	browser.Holds(t, tab, "saying that it is sent", `document.getElementById("said").textContent === "The message is sent."`)
	p.open(tab, object, 1280, 800)
	for _, action := range []struct{ button, said string }{
		{".actions button:first-child", "The object hibernates."}, {".actions button:last-child", "The alarm has run."},
	} {
		browser.Act(t, tab, browser.Click(action.button), browser.Click("dialog button[type=submit]"))
		browser.Holds(t, tab, "saying: "+action.said, fmt.Sprintf(`document.getElementById("said").textContent === %q`, action.said))
	}
	want := []string{
		`close {"code":4000,"reason":"\u003cimg src=x onerror=\"window.hacked=true\"\u003e","socket":3}`, `send {"socket":3,"text":"hello"}`,
		fmt.Sprintf(`hibernate {"namespace":"rooms","object":%q}`, objectID(1)), fmt.Sprintf(`run_alarm {"namespace":"rooms","object":%q}`, objectID(1)),
	}
	if done := p.actionsDone(); !slices.Equal(done, want) {
		t.Errorf("got  %q\nwant %q", done, want)
	}
}

// TestStorage shows values as text, JSON and hexadecimal, masked ones as masked, and none as HTML.
func TestStorage(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 100, objects: 100})
	p.open(tab, "#objects?ns=rooms&id="+objectID(1), 1280, 800)
	browser.Holds(t, tab, "showing the object", `document.querySelector(".reasons").textContent.includes("main.go:42")`)
	choose := func(as string) {
		browser.Evaluate(t, tab, fmt.Sprintf(`[...document.querySelectorAll("[aria-label=Storage] .choice label")].find(l => l.textContent === %q).querySelector("input").click()`, as))
	}
	shows := func(what string, values ...string) {
		t.Helper()
		browser.Holds(t, tab, "showing "+what, fmt.Sprintf(`[...document.querySelectorAll(".entry pre")].map(e => e.textContent).join("|") === %q`, strings.Join(values, "|")))
	}
	members := "{\n  \"ann\": true,\n  \"bob\": false\n}"
	choose("Auto")
	browser.Evaluate(t, tab, `[...document.querySelectorAll(".details button")].find(b => b.textContent.startsWith("Read")).click()`)
	shows("what they are", evil, members, "89504e47 0d0a1a0a", "********")
	choose("Hex")
	shows("bytes", spaced(fmt.Sprintf("%x", evil)), spaced(fmt.Sprintf("%x", members)), "89504e47 0d0a1a0a", spaced(fmt.Sprintf("%x", "********")))
	choose("JSON")
	shows("JSON where it is", evil, members, "89504e47 0d0a1a0a", "********")
	browser.Holds(t, tab, "saying which is masked", `[...document.querySelectorAll(".masked")].map(e => e.closest(".entry").querySelector(".key").textContent).join() === "token"`)
	browser.Holds(t, tab, "showing the key as text", `document.querySelector(".entry .key").textContent === `+fmt.Sprintf("%q", evil)+` && window.hacked === undefined`)
}

// spaced puts a space behind every eight digits.
func spaced(digits string) string {
	var groups []string
	for group := range slices.Chunk([]byte(digits), 8) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, " ")
}

// TestMotion: nothing moves for those who do not want it, and the page can be paused.
func TestMotion(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 100, objects: 100})
	p.open(tab, "", 1280, 800)
	browser.Holds(t, tab, "showing that it is live", `getComputedStyle(document.querySelector(".dot")).animationName === "pulse"`)
	browser.Act(t, tab, media("prefers-reduced-motion", "reduce"))
	browser.Holds(t, tab, "still", `document.getAnimations().length === 0`)
	browser.Act(t, tab, browser.Click("#pause"))
	browser.Holds(t, tab, "paused", `document.getElementById("connection-text").textContent === "Paused" && document.getElementById("pause").getAttribute("aria-pressed") === "true"`)
	browser.Act(t, tab, browser.Click("#pause"))
	browser.Holds(t, tab, "live again", live)
}
