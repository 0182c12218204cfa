package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
)

// seat is the test's end of a player's socket.
type seat struct {
	t *testing.T
	s *edgews.Socket
}

// heard is any message of the server.
type heard struct {
	Type    string
	You     string
	Size    int
	Gems    []field
	Players []player
	Player  player
	Left    player
}

func serve(t *testing.T) (url string, games *edgews.Namespace) {
	games = newGames(edgews.NewMemoryStore())
	server := httptest.NewServer(handler(games))
	t.Cleanup(func() {
		server.Close()
		games.Shutdown(context.Background())
	})
	return server.URL + "/game/1/socket", games
}

func join(t *testing.T, url string) (seat, heard) {
	t.Helper()
	s, _, err := edgews.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := seat{t, s}
	t.Cleanup(func() { // before the server ends, since it would wait for an answer to its Close
		s.Close(edgews.StatusNormalClosure, "")
		<-s.Done()
	})
	welcome := p.hears("welcome")
	p.hears("player")
	return p, welcome
}

func (p seat) does(format string, args ...any) {
	p.t.Helper()
	if err := p.s.Write(p.t.Context(), edgews.Text, fmt.Appendf(nil, format, args...)); err != nil {
		p.t.Fatal(err)
	}
}

func (p seat) hears(what string) heard {
	p.t.Helper()
	got, err := edgews.ReceiveJSON[heard](p.t.Context(), p.s)
	if err != nil || got.Type != what {
		p.t.Fatalf("got %+v and %v, not %q", got, err, what)
	}
	return got
}

// step makes one step towards a field, and reports whether the player is there.
func (p seat) step(from, to field) (there bool) {
	switch {
	case from.X != to.X:
		p.does(`{"type":"move","dx":%d,"dy":0}`, sign(to.X-from.X))
	case from.Y != to.Y:
		p.does(`{"type":"move","dx":0,"dy":%d}`, sign(to.Y-from.Y))
	default:
		return true
	}
	return false
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}

// TestGame: a player fetches a gem, another one receives the moves, and the session hibernates after every step.
func TestGame(t *testing.T) {
	url, games := serve(t)
	ann, _ := join(t, url)
	bob, welcome := join(t, url)
	if len(welcome.Players) != 2 || len(welcome.Gems) != gems || welcome.Size != size {
		t.Fatalf("%+v", welcome)
	}
	me, target := ann.hears("player").Player, welcome.Gems[0]
	for _, p := range welcome.Players {
		if p.ID != welcome.You {
			me = p
		}
	}
	score := 0
	for !ann.step(me.field, target) {
		if err := games.Hibernate(t.Context(), games.IDFromName("1")); err != nil {
			t.Fatal(err)
		}
		got, err := edgews.ReceiveJSON[heard](t.Context(), bob.s)
		if err != nil {
			t.Fatal(err)
		}
		if got.Type == "gems" {
			score++
			got = bob.hears("player")
		}
		me = got.Player
		if me.Score != score {
			t.Fatalf("%d gems, and the score is %d", score, me.Score)
		}
	}
	began := welcome.Players[0].field == target || welcome.Players[1].field == target
	if score == 0 && !began {
		t.Error("the gem was not there")
	}
	ann.does(`{"type":"leave"}`)
	for range ann.s.Messages(t.Context()) { // the answer to the Close is sent while the socket receives
	}
	if left := bob.hears("left").Left; left.ID != me.ID {
		t.Errorf("%+v has left", left)
	}
}

func TestEdgeOfTheBoard(t *testing.T) {
	url, _ := serve(t)
	ann, welcome := join(t, url)
	last := welcome.Players[0]
	for range size {
		ann.does(`{"type":"move","dx":-1,"dy":0}`)
	}
	ann.does(`{"type":"move","dx":1,"dy":1}`)  // not a step
	ann.does(`{"type":"move","dx":0,"dy":99}`) // nor this
	ann.does(`{"type":"leave"}`)
	for msg, err := range ann.s.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		var got heard
		if err := json.Unmarshal(msg.Data, &got); err != nil {
			t.Fatal(err)
		}
		if got.Type == "player" {
			last = got.Player
		}
	}
	if last.X != 0 {
		t.Errorf("%+v", last)
	}
}

func TestNoMoveOfThisGame(t *testing.T) {
	url, _ := serve(t)
	for _, message := range []string{"", "{}", `{"type":"fly"}`, `{"type":"move","dx":"far"}`} {
		ann, _ := join(t, url)
		ann.does("%s", message)
		var err error
		for err == nil { // what it receives first is that the player before it has left
			_, err = ann.s.Receive(t.Context())
		}
		if end := new(edgews.CloseError); !errors.As(err, &end) || end.Code != edgews.StatusUnsupportedData {
			t.Errorf("%s: %v", message, err)
		}
	}
}

func TestRun(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data := filepath.Join(t.TempDir(), "game.db")
	if err := run(t.Context(), taken.Addr().String(), data); err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("a port that is taken: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, "localhost:0", data); err != nil {
		t.Errorf("an interrupt: %v", err)
	}
}

// A touch of the board moves the player towards the field, and the gems are drawn without a font.
func TestTouch(t *testing.T) {
	url, _ := serve(t)
	tab := browser.Start(t)
	at := func() string {
		where, err := chromedp.Run(tab, chromedp.Evaluate[string](`JSON.stringify([players.get(me).x, players.get(me).y])`))
		if err != nil {
			t.Fatal(err)
		}
		return where
	}
	browser.Act(t, tab, chromedp.EmulateViewport(360, 640, chromedp.EmulateTouch), chromedp.Navigate(strings.TrimSuffix(url, "/socket")),
		chromedp.Poll[chromedp.Void](`players.has(me) && document.querySelectorAll("svg.gem").length > 0`))
	before := at()
	board, err := chromedp.Run(tab, chromedp.Evaluate[[]float64](`(() => {
		const r = document.getElementById("board").getBoundingClientRect(), p = players.get(me);
		return [p.x < size / 2 ? r.right - 12 : r.left + 12, r.top + (p.y + 0.5) * r.height / size];
	})()`))
	if err != nil {
		t.Fatal(err)
	}
	browser.Act(t, tab, chromedp.TapXY(board[0], board[1]))
	browser.Act(t, tab, chromedp.Poll[chromedp.Void](fmt.Sprintf(`JSON.stringify([players.get(me).x, players.get(me).y]) !== '%s'`, before)))
}
