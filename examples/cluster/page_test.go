package main

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/edgews/edgews/examples/internal/browser"
)

// TestPage kills the room's home and then the edge with the buttons of the page, in a wide and in a narrow window.
func TestPage(t *testing.T) {
	tab := browser.Start(t)
	s := newSite(t)
	browser.Act(t, tab, chromedp.EmulateViewport(1100, 860), chromedp.Navigate(s.url))
	browser.Holds(t, tab, "connected", `opened && home`)
	first, edge := s.home("room"), browser.Text(t, tab, "#edge")
	equal(t, "the home on the page", first, browser.Text(t, tab, "#home"))
	if edge == first {
		t.Errorf("the page is connected to the room's home, %s", edge)
	}
	say := func(text string) {
		t.Helper()
		browser.Act(t, tab, browser.SetValue("#text", text), browser.Click("#composer button"))
		last := `[...document.querySelectorAll(".said:not(.pending)")].at(-1)`
		browser.Holds(t, tab, "showing what was said", fmt.Sprintf(`%s?.textContent.includes(%q)`, last, text))
	}
	say("before the kill")
	browser.Holds(t, tab, "counting", `Number($("count").textContent) > 10`)
	browser.Screenshot(t, tab, "cluster-before.png")

	browser.Act(t, tab, browser.Click("#node-"+first+" .kill"))
	browser.Holds(t, tab, "told of the new home", fmt.Sprintf(`home.node !== %q && $("events").textContent.includes("over the same socket")`, first))
	browser.Screenshot(t, tab, "cluster-after.png")
	say("after the kill")
	browser.Holds(t, tab, "still connected over the first socket", `connections === 1 && opened`)

	// The page has nothing in the edge but its socket: it goes to another node.
	browser.Act(t, tab, browser.Click("#node-"+first+" .start"))
	s.awaits("sharing the shards", shared)
	browser.Act(t, tab, browser.Click("#node-"+edge+" .kill"))
	browser.Holds(t, tab, "connected to another node", fmt.Sprintf(`opened && connections === 2 && edge !== %q`, edge))
	say("after the end of the edge")
	browser.Holds(t, tab, "showing each message once",
		`[...document.querySelectorAll(".said")].map(e => e.lastChild.textContent).join() === "before the kill,after the kill,after the end of the edge"`)

	browser.Act(t, tab, chromedp.EmulateViewport(400, 800))
	browser.Holds(t, tab, "of the width of the screen", `document.documentElement.scrollWidth <= 400`)
	browser.Screenshot(t, tab, "cluster-400.png")

	// A visitor who comes later gets what was said.
	browser.Act(t, tab, chromedp.EmulateViewport(1100, 860), chromedp.Reload())
	browser.Holds(t, tab, "showing the history", `document.querySelectorAll(".said").length === 3`)
	s.heals()
	home := s.home("room")
	browser.Holds(t, tab, "ready", fmt.Sprintf(`isAlive(%q) && !document.querySelector("#node-%s .leave").disabled`, home, home))
	browser.Act(t, tab, browser.Click("#node-"+home+" .leave"))
	browser.Holds(t, tab, "told that it has left", fmt.Sprintf(`node(%q).state === "left"`, home))
	say("after the home has left")
	browser.Screenshot(t, tab, "cluster-left.png")
}
