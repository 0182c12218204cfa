package inspectpage_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/edgews/edgews/examples/internal/browser"
	"github.com/edgews/edgews/inspect"
)

// clusters answers CallCluster.
func (p *process) clusters() inspect.ClusterReport {
	if p.cluster == nil {
		return inspect.ClusterReport{Now: now(), Clusters: []inspect.ClusterView{}}
	}
	return p.cluster()
}

const epochBase = 9_895_604_649_985 // the ninth generation

// shardsOf returns so many shards of some owners: of a few this node is about to be the owner, of a few none is.
func shardsOf(n int, owners ...string) inspect.ClusterShards {
	s := inspect.ClusterShards{
		Count: n, Owners: owners, States: []string{"unowned", "remote", "waiting", "ready", "leaving"}, ByState: make(map[string]int),
		EpochBase: strconv.Itoa(epochBase), Waiting: []inspect.ClusterWait{{Shard: 6, Missing: []string{evil}}},
	}
	for i := range n {
		owner, state := i*2_654_435_761>>16%len(owners), 1
		switch {
		case i%97 == 96:
			state = 0
		case i%60 == 6:
			owner, state = 0, 2
		case i%51 == 50:
			owner, state = 0, 4
		case owner == 0:
			state = 3
		}
		s.Owner, s.State, s.Epoch = append(s.Owner, owner), append(s.State, state), append(s.Epoch, uint64(i%13))
		s.ByState[s.States[state]]++
	}
	return s
}

// threeNodes is a cluster in which something is going on.
func threeNodes() inspect.ClusterReport {
	at := now()
	nodes := []inspect.ClusterNode{
		{ID: "shop-1", Addr: "10.1.0.11:7400", State: "alive", Versions: [2]int{1, 1}, BeatAge: 1200, TTL: 15_000, Shards: 356, EdgeSockets: 1312, HomeSockets: 1312, Incarnation: "00c0ffee00c0ffee"},
		{ID: "shop-2", Addr: "10.1.0.12:7400", State: "leaving", Leaving: true, Versions: [2]int{1, 2}, BeatAge: 3300, TTL: 15_000, Shards: 331, EdgeSockets: 1290, HomeSockets: 887},
		{ID: "shop-edge", Addr: "10.1.0.31:7400", State: "alive", EdgeOnly: true, Versions: [2]int{1, 1}, BeatAge: 900, TTL: 15_000, HomeSockets: 20_411},
		{ID: evil, Addr: evil, State: "late", Versions: [2]int{1, 1}, BeatAge: 15_900, TTL: 15_000, Shards: 337, EdgeSockets: 3, HomeSockets: 4},
	}
	return inspect.ClusterReport{Now: at, Clusters: []inspect.ClusterView{{
		Name: "shop", Node: "shop-1", Version: 1, Namespaces: []string{"rooms", evil}, Members: nodes, Waiting: 3, Retries: 128,
		Lease:  inspect.ClusterLease{Valid: true, Left: 13_800, TTL: 15_000, Renewals: 93_412, Failures: 3, Ended: 1, Error: "engine: " + evil, ErrorAt: at - 3_600_000},
		Shards: shardsOf(1024, "shop-1", "shop-2", evil),
		Links: []inspect.ClusterLink{
			{Member: "shop-1", Dialed: true, Connected: true, Since: at - 7_200_000, Connections: 1, FramesIn: 91_000, FramesOut: 90_100, BytesIn: 41_000_000, BytesOut: 39_000_000, Channels: 1312},
			{Member: "shop-2", Dialed: true, Connected: true, Since: at - 7_100_000, Connections: 3, FramesIn: 812_331, FramesOut: 700_120, BytesIn: 310_000_000, BytesOut: 120_500_000, Channels: 1290, Unacknowledged: 81_920, RoundTrip: 0.31},
			{Member: "shop-2", Connected: true, Since: at - 7_100_000, Connections: 1, FramesIn: 500_120, FramesOut: 612_331, BytesIn: 110_000_000, BytesOut: 99_500_000, Channels: 887, RoundTrip: 0.28},
			{Member: evil, Dialed: true, Since: at - 2100, Connections: 2, Channels: 3, Error: "dial tcp: " + evil},
		},
		Moves: inspect.ClusterMoves{Claims: 402, Conflicts: 4, Gained: 398, Given: 42, Lost: 31, Removed: 1, Claiming: 6, HandingOff: 2, Handover: 12.4, LastHandover: 8.1, Ready: 392, ReadyTime: 31.2, LastReady: 19.9},
		Events: []inspect.ClusterNews{
			{At: at - 2100, Kind: "member refused", Member: evil, Reason: evil}, {At: at - 61_000, Kind: "member leaving", Member: "shop-2"},
			{At: at - 99_000, Kind: "shards changed", Gained: 31, Given: 11, Took: 840}, {At: at - 99_900, Kind: "member joined", Member: "shop-edge"},
			{At: at - 3_600_000, Kind: "lease ended", Reason: "it was not renewed in time"}, {At: at - 3_600_000, Kind: "shards changed", Lost: 31, Took: 2},
		},
	}}}
}

const hasCluster = `document.querySelectorAll("[aria-labelledby=nodes] tbody tr").length === 4 && document.querySelector(".shards canvas").height > 20`

// TestCluster shows the cluster in light and dark, on a wide and on a narrow screen.
func TestCluster(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 100, objects: 100, cluster: threeNodes})
	for _, scheme := range []string{"light", "dark"} {
		browser.Act(t, tab, media("prefers-color-scheme", scheme))
		for _, size := range [][2]int64{{1280, 1700}, {360, 800}} {
			p.open(tab, "#cluster", size[0], size[1])
			browser.Holds(t, tab, "showing the cluster", hasCluster)
			browser.Holds(t, tab, fmt.Sprintf("of the width of the screen at %d", size[0]),
				fmt.Sprintf("document.documentElement.scrollWidth <= %d && document.getElementById('main').scrollWidth <= document.getElementById('main').clientWidth", size[0]))
			browser.Screenshot(t, tab, fmt.Sprintf("cluster-%s-%d.png", scheme, size[0]))
			browser.Evaluate(t, tab, watchPolicy)
			browser.Holds(t, tab, "within its Content-Security-Policy", `window.observed && window.violations.length === 0`)
			browser.Holds(t, tab, "safe", `window.hacked === undefined && document.querySelectorAll("main img").length === 0`)
		}
	}
	for _, selector := range []string{"[aria-labelledby=nodes] tbody th", "[aria-labelledby=links] tbody th", "[aria-labelledby=changes] .log-text", ".shards .legend", ".problem", "[aria-labelledby=moves] dd"} {
		browser.Holds(t, tab, "showing names as text in "+selector, fmt.Sprintf("[...document.querySelectorAll(%q)].some(e => e.textContent.includes(%q))", selector, evil))
	}
	browser.Holds(t, tab, "listed among the views", `[...document.querySelectorAll("#views a")].some(a => a.textContent === "Cluster" && !a.hidden)`)
	browser.Holds(t, tab, "saying what is wrong", `document.querySelector(".problem").textContent.includes("no live owner")`)
	names, unnamed := tree(t, tab)
	for _, name := range []string{"heading Cluster", "table Nodes", "table Links", "group Requests waiting: 3, 128 sent again", "group Lease: 14 s, of 15 s, 93.4k renewals", "application 1,024 shards: shop-1 owns "} {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, name) }) {
			t.Errorf("there is no %q in %q", name, names)
		}
	}
	if len(unnamed) > 0 {
		t.Errorf("without a name: %q", unnamed)
	}
	p.open(tab, "#objects", 1280, 800)
	browser.Holds(t, tab, "saying that these are objects of this node", `document.querySelector(".bar .note").textContent.endsWith(" in memory on this node")`)
}

// TestShards reads single shards with the mouse and with the keyboard.
func TestShards(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{cluster: threeNodes})
	p.open(tab, "#cluster", 1280, 800)
	browser.Holds(t, tab, "showing the cluster", hasCluster)
	const about = `document.querySelector(".about").textContent`
	browser.Evaluate(t, tab, `window.canvas = document.querySelector(".shards canvas"); canvas.dispatchEvent(new MouseEvent("mousemove", {clientX: canvas.getBoundingClientRect().left + 3, clientY: canvas.getBoundingClientRect().top + 3}))`)
	browser.Holds(t, tab, "telling of the first shard", fmt.Sprintf(`%s === "Shard 0 · shop-1 · epoch %d · runs on this node"`, about, epochBase))
	browser.Evaluate(t, tab, `canvas.dispatchEvent(new MouseEvent("mouseleave")); canvas.focus()`)
	browser.Holds(t, tab, "telling of none", about+`.startsWith("Point at")`)
	for range 7 {
		browser.Act(t, tab, chromedp.KeyEvent(kb.ArrowRight))
	}
	browser.Holds(t, tab, "telling for whom a shard waits", fmt.Sprintf(`%s === %q`, about, fmt.Sprintf("Shard 6 · shop-1 · epoch %d · waits for the sockets of %s", epochBase+6, evil)))
	browser.Act(t, tab, chromedp.KeyEvent(kb.End))
	browser.Holds(t, tab, "telling of the last shard", about+`.startsWith("Shard 1023 · ")`)
}

// TestManyShards: the largest cluster there can be is drawn, and nothing of it is an element.
func TestManyShards(t *testing.T) {
	tab := browser.Start(t)
	var owners []string
	for i := range 40 {
		owners = append(owners, fmt.Sprintf("node-%02d", i))
	}
	p := newProcess(t, &process{cluster: func() inspect.ClusterReport {
		r := threeNodes()
		r.Clusters[0].Shards = shardsOf(1<<16, owners...)
		return r
	}})
	for _, width := range []int64{1280, 360} {
		p.open(tab, "#cluster", width, 1700)
		browser.Holds(t, tab, "showing the cluster", hasCluster)
		browser.Holds(t, tab, "of the width of the screen", fmt.Sprintf("document.documentElement.scrollWidth <= %d && document.getElementById('main').scrollWidth <= document.getElementById('main').clientWidth", width))
		browser.Holds(t, tab, "with few elements", `document.querySelectorAll("main *").length < 1000`)
		browser.Screenshot(t, tab, fmt.Sprintf("shards-%d.png", width))
	}
}

// TestNoCluster: without a cluster there is no view of it; who asks for it nevertheless is told.
func TestNoCluster(t *testing.T) {
	tab := browser.Start(t)
	p := newProcess(t, &process{sockets: 10, objects: 10})
	p.open(tab, "", 1280, 800)
	browser.Holds(t, tab, "showing no link to it", `document.querySelector("[data-tile=sockets] .figure").textContent === "10" && [...document.querySelectorAll("#views a")].every(a => a.hidden === (a.textContent === "Cluster"))`)
	p.open(tab, "#cluster", 1280, 800)
	browser.Holds(t, tab, "saying that there is none", `document.querySelector(".problem").textContent === "No namespace that the inspector knows is in a cluster."`)
}
