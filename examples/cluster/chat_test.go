package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/chat/chatrooms"
	"github.com/edgews/edgews/examples/internal/browser"
)

// user is a connection to the lobby of the chat, and the messages that have come.
type user struct {
	t    *testing.T
	s    *edgews.Socket
	name string
	said []string
}

func (s site) chats(id, name string) *user {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	socket, _, err := edgews.Dial(ctx, "ws://"+s.address(id)+"/room/lobby/socket?name="+name, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { socket.Close(edgews.StatusNormalClosure, "") })
	u := &user{t: s.t, s: socket, name: name}
	u.hears(func(f edgews.FeedFrame) bool { return f.Type == "feed.cursor" })
	return u
}

// hears receives until a frame is the right one, and notes the messages.
func (u *user) hears(right func(edgews.FeedFrame) bool) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), limit)
	defer cancel()
	for {
		f, err := edgews.ReceiveJSON[edgews.FeedFrame](ctx, u.s)
		if err != nil {
			u.t.Fatal(u.name, ": ", err, ", after ", u.said)
		}
		if f.Type == "feed.message" {
			var m chatrooms.Said
			if err := json.Unmarshal(f.Data, &m); err != nil {
				u.t.Fatal(err)
			}
			u.said = append(u.said, m.Name+": "+m.Text)
		}
		if right(f) {
			return
		}
	}
}

// hearsSaid receives until a message is there.
func (u *user) hearsSaid(message string) {
	u.t.Helper()
	if !slices.Contains(u.said, message) {
		u.hears(func(edgews.FeedFrame) bool { return slices.Contains(u.said, message) })
	}
}

func (u *user) says(text string) {
	u.t.Helper()
	if err := edgews.SendJSON(u.s, map[string]string{"id": u.name + text, "text": text}); err != nil {
		u.t.Fatal(err)
	}
}

// TestChat has two users of the chat talk by way of two nodes, and kills the room's home.
func TestChat(t *testing.T) {
	s := newSite(t)
	first := s.home("chat")
	edges := s.others(first)
	ann, bob := s.chats(edges[0], "Ann"), s.chats(edges[1], "Bob")
	var all []string
	say := func(text string) {
		t.Helper()
		for _, u := range []*user{ann, bob} {
			u.says(text)
			all = append(all, u.name+": "+text)
			ann.hearsSaid(all[len(all)-1])
			bob.hearsSaid(all[len(all)-1])
		}
	}
	say("hello")
	s.does(s.kill, first)
	say("are you still here?")
	s.heals()
	say("all three are back")
	for _, u := range []*user{ann, bob, s.chats(edges[0], "Cecilia")} {
		u.hearsSaid(all[len(all)-1])
		equal(t, "what "+u.name+" has got", fmt.Sprint(all), fmt.Sprint(u.said))
	}
}

// TestChatPage shows the chat in the page, and goes to another node when the one that serves it is killed.
func TestChatPage(t *testing.T) {
	tab := browser.Start(t)
	s := newSite(t)
	browser.Act(t, tab, chromedp.EmulateViewport(1100, 860), chromedp.Navigate(s.url+"?app=chat"))
	browser.Holds(t, tab, "showing a chat", `$("frame").src`)
	edge := browser.Text(t, tab, "#edge")
	browser.Act(t, tab, browser.Click("#node-"+edge+" .kill"))
	browser.Holds(t, tab, "showing the chat of another node", fmt.Sprintf(`edge !== %q && $("frame").src.includes(node(edge).address.split(":")[1])`, edge))
	s.heals()
	home := s.home("chat")
	browser.Holds(t, tab, "showing the home", fmt.Sprintf(`$("home").textContent === %q`, home))
	browser.Act(t, tab, browser.Click("#kill-home"))
	browser.Holds(t, tab, "showing the next home", fmt.Sprintf(`!["moving", %q].includes($("home").textContent)`, home))
	browser.Screenshot(t, tab, "cluster-chat.png")
	browser.Act(t, tab, chromedp.EmulateViewport(400, 800))
	browser.Holds(t, tab, "of the width of the screen", `document.documentElement.scrollWidth <= 400`)
}
