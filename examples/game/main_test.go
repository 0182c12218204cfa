package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
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
	Best    []result
}

func serve(t *testing.T) (url string, games *edgews.Namespace) {
	n := newNamespaces(edgews.NewMemoryStore())
	server := httptest.NewServer(n.handler())
	t.Cleanup(func() {
		server.Close()
		n.shutdown(context.Background())
	})
	return server.URL + "/game/1/socket", n.games
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
			best := bob.hears("best").Best
			if len(best) != 1 || best[0] != (result{me.ID, me.Name, score}) {
				t.Fatalf("the scoreboard has %+v", best)
			}
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

// asker returns a function that makes requests over a player's socket.
func asker(t *testing.T, url string) (*edgews.Mux, *edgews.Socket) {
	s, _, err := edgews.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	var mux edgews.Mux
	s.OnMessage(func(e edgews.MessageEvent) { mux.Dispatch(context.Background(), s, e.Message) })
	s.Accept()
	t.Cleanup(func() {
		s.Close(edgews.StatusNormalClosure, "")
		<-s.Done()
	})
	return &mux, s
}

// TestRequests: players of two sessions share one scoreboard, and are told what is wrong.
func TestRequests(t *testing.T) {
	url, games := serve(t)
	ann, annSocket := asker(t, url)
	bob, bobSocket := asker(t, strings.Replace(url, "/game/1/", "/game/2/", 1))
	type name struct{ Name string }
	me, err := edgews.Request[name, player](t.Context(), ann, annSocket, "rename", name{" Ann "})
	if err != nil || me.Name != "Ann" {
		t.Fatal(me, err)
	}
	for _, wrong := range []string{"", " ", strings.Repeat("x", 17)} {
		if _, err := edgews.Request[name, player](t.Context(), ann, annSocket, "rename", name{wrong}); !errors.Is(err, errName) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	type step struct{ DX, DY int }
	if _, err := edgews.Request[step, int](t.Context(), ann, annSocket, "move", step{1, 1}); !errors.Is(err, errNoStep) {
		t.Error(err)
	}
	score := 0
	for y := 0; score == 0; y++ { // through every row, to a gem
		for _, dx := range []int{1, -1} {
			for range size {
				switch got, err := edgews.Request[step, int](t.Context(), ann, annSocket, "move", step{dx, 0}); {
				case err == nil:
					score = got
				case !errors.Is(err, errNoStep):
					t.Fatal(err)
				}
			}
		}
		dy := 1
		if y/size%2 == 1 {
			dy = -1
		}
		edgews.Request[step, int](t.Context(), ann, annSocket, "move", step{0, dy})
	}
	if err := games.Hibernate(t.Context(), games.IDFromName("2")); err != nil {
		t.Fatal(err)
	}
	best, err := edgews.Request[any, []result](t.Context(), bob, bobSocket, "best", nil)
	if err != nil || len(best) != 1 || best[0].Name != "Ann" || best[0].Score < 1 {
		t.Errorf("bob sees %+v and %v", best, err)
	}
	resp, err := http.Get(strings.TrimSuffix(url, "/game/1/socket") + "/scores")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var public []result
	if err := json.NewDecoder(resp.Body).Decode(&public); err != nil || len(public) != 1 || public[0] != best[0] {
		t.Errorf("%+v and %v", public, err)
	}
}

// TestScoreboard: it keeps the best scores, one for each player, also when it starts again.
func TestScoreboard(t *testing.T) {
	store := edgews.NewMemoryStore()
	n := newNamespaces(store)
	for i := range 2 * length {
		r := result{fmt.Sprint("player ", i%15), "name", i}
		if _, err := edgews.Call[result, []result](t.Context(), n.scores.Get(n.scores.IDFromName("all")), "report", r); err != nil {
			t.Fatal(err)
		}
	}
	n.shutdown(t.Context())
	n = newNamespaces(store)
	defer n.shutdown(context.Background())
	best, err := edgews.Call[any, []result](t.Context(), n.scores.Get(n.scores.IDFromName("all")), "best", nil)
	if err != nil || len(best) != length {
		t.Fatal(best, err)
	}
	for i, r := range best {
		if want := 2*length - 1 - i; r.Score != want || r.ID != fmt.Sprint("player ", want%15) {
			t.Errorf("%d: %+v", i, r)
		}
	}
}

func TestEdgeOfTheBoard(t *testing.T) {
	url, _ := serve(t)
	ann, welcome := join(t, url)
	last := welcome.Players[0]
	for range size {
		ann.does(`{"type":"move","dx":-1,"dy":0,"id":0}`)
	}
	ann.does(`{"type":"move","dx":1,"dy":1,"id":1}`)  // not a step
	ann.does(`{"type":"move","dx":0,"dy":99,"id":2}`) // nor this
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

// TestPage: the page gives its player a name, walks to a gem, and shows the score on the board and among the best.
func TestPage(t *testing.T) {
	url, _ := serve(t)
	tab := browser.Start(t)
	browser.Act(t, tab, chromedp.Navigate(strings.TrimSuffix(url, "/socket")), chromedp.Poll[chromedp.Void](`players.has(me)`),
		chromedp.Evaluate[chromedp.Void](`$("name").value = "Ann"; $("name").dispatchEvent(new Event("change"))`),
		chromedp.Poll[chromedp.Void](`$("scores").textContent.includes("Ann (you)")`),
		chromedp.Evaluate[chromedp.Void](`(async () => {
			while (best.length === 0) {
				const {x, y} = players.get(me), gem = gems[0];
				await call("move", x !== gem.x ? {dx: Math.sign(gem.x - x), dy: 0} : y !== gem.y ? {dx: 0, dy: Math.sign(gem.y - y)} : {dx: x > 0 ? -1 : 1, dy: 0});
			}
		})()`),
		chromedp.Poll[chromedp.Void](`/^Ann \(you\)[1-9]/.test($("best").textContent)`),
		chromedp.Evaluate[chromedp.Void](`$("name").value = " "; $("name").dispatchEvent(new Event("change"))`),
		chromedp.Poll[chromedp.Void](`$("state").textContent.includes("1 to 16 letters")`))
}
