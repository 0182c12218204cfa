package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/browser"
)

// settleLimit is for what happens within seconds on an idle machine.
const settleLimit = 3 * time.Minute

// TestKills kills the server, the network and a page while clients in three rooms send messages. Each message of a client has to be in the
// history once, all clients have to get all messages once and in one order, and what was confirmed must stay. EDGEWS_SEED repeats the
// random choices of a run.
func TestKills(t *testing.T) {
	kills, messages := 200, 45 // messages of each client: the first room gets more than it keeps
	flags := []string(nil)
	if testing.Short() || raceEnabled {
		kills, messages = 40, 10
	}
	if raceEnabled {
		flags = append(flags, "-race")
	}
	w := newWorld(t, kills, messages, flags)
	began := time.Now()
	for left := kills; left > 0; left-- {
		w.kill(left)
	}
	killed := time.Now()
	w.settle()
	t.Logf("%d kills took %v, and what followed %v", kills, killed.Sub(began), time.Since(killed))
	w.check()
}

// world is a server with everything that goes wrong around it, and what its clients know.
type world struct {
	t       *testing.T
	random  *rand.Rand
	process *process
	log     *syncBuffer // of the server
	network *network
	rooms   []*testRoom
	page    *testPage // in the first room; nil without Chromium

	kills, messages int           // how many there will be
	killed          atomic.Int64  // kills so far
	got             atomic.Int64  // messages that clients have got
	done            chan struct{} // closed at the end

	mu     sync.Mutex
	next   chan struct{} // closed by the next kill; guarded by mu
	faults []string      // guarded by mu
}

// testRoom is a room and the clients in it.
type testRoom struct {
	path    string
	talkers []*talker
}

func newWorld(t *testing.T, kills, messages int, flags []string) *world {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("EDGEWS_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("EDGEWS_SEED=%d", seed)
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), log: new(syncBuffer),
		kills: kills, messages: messages, done: make(chan struct{}), next: make(chan struct{}),
	}
	w.process = build(t, flags...)
	w.process.stderr = w.log
	w.process.start()
	w.network = newNetwork(t, w.process.addr)
	w.enterRooms()
	if browser.Installed() {
		w.page = openPage(t, w.url())
	}
	return w
}

func (w *world) url() string { return "http://" + w.network.addr() }

// enterRooms starts the clients.
func (w *world) enterRooms() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	w.t.Cleanup(func() { cancel(); running.Wait() })
	rooms := []struct {
		path    string
		talkers int
	}{{lobby, 24}, {"/room/other", 6}, {w.process.server().privateRoom(w.t), 6}}
	for n, room := range rooms {
		r := &testRoom{path: room.path}
		w.rooms = append(w.rooms, r)
		for i := range room.talkers {
			c := &talker{w: w, name: fmt.Sprintf("talker %d.%d", n, i), confirmed: make(map[string]uint64)}
			r.talkers = append(r.talkers, c)
			running.Go(func() { c.run(ctx, w.url()+r.path+"/socket?"+url.Values{"name": {c.name}}.Encode()) })
		}
	}
}

// allowed returns how many messages each client may have sent by now: they are spread over all kills.
func (w *world) allowed() int {
	return min(w.messages, w.messages*(int(w.killed.Load())+1)/w.kills)
}

// nextKill returns a channel that the next kill closes.
func (w *world) nextKill() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

// fault notes what must not happen.
func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.faults) > 0
}

// kill kills something after some messages. The page is killed for the last time when everything else has been.
func (w *world) kill(left int) {
	w.waitForMessages(w.random.IntN(200))
	kind := w.random.IntN(10)
	switch {
	case w.page != nil && (kind == 0 || left == 1):
		w.page.reload()
		browser.Holds(w.t, w.page.tab, "connected", `$("state").className === "open"`)
	case kind < 4:
		w.restart()
	default:
		w.network.cut(w.random)
	}
	if w.page != nil && w.random.IntN(6) == 0 {
		w.page.say()
	}
	w.killed.Add(1)
	w.mu.Lock()
	close(w.next)
	w.next = make(chan struct{})
	w.mu.Unlock()
}

// waitForMessages waits until clients have got so many messages, unless there are fewer.
func (w *world) waitForMessages(n int) {
	until := w.got.Load() + int64(n)
	for deadline := time.Now().Add(250 * time.Millisecond); w.got.Load() < until && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// restart kills the server, sometimes while it shuts down, and starts it again.
func (w *world) restart() {
	if w.random.IntN(4) == 0 {
		w.process.interrupt()
		time.Sleep(time.Duration(w.random.IntN(30)) * time.Millisecond)
	}
	w.process.kill()
	time.Sleep(time.Duration(w.random.IntN(50)) * time.Millisecond)
	w.process.start()
}

// settle waits until every client has sent and got everything.
func (w *world) settle() {
	w.t.Helper()
	for deadline := time.Now().Add(settleLimit); !w.settled() && !w.failed(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Errorf("after %v: %s", settleLimit, w.describe())
			return
		}
	}
}

func (w *world) settled() bool {
	for n, r := range w.rooms {
		for _, c := range r.talkers {
			if confirmed, got := c.progress(); confirmed < w.messages || got < w.expected(n) {
				return false
			}
		}
	}
	return w.page == nil || w.page.hasGot(w.expected(0))
}

// expected returns how many messages the clients of a room send.
func (w *world) expected(room int) int {
	n := len(w.rooms[room].talkers) * w.messages
	if room == 0 && w.page != nil {
		n += len(w.page.said)
	}
	return n
}

// describe returns how far the clients are.
func (w *world) describe() string {
	var b strings.Builder
	for n, r := range w.rooms {
		for _, c := range r.talkers {
			confirmed, got := c.progress()
			fmt.Fprintf(&b, "\n%s: %d of %d messages are confirmed, %d of %d have come", c.name, confirmed, w.messages, got, w.expected(n))
		}
	}
	if w.page != nil {
		fmt.Fprintf(&b, "\nthe page: %s", w.page.describe())
	}
	return b.String()
}

// check compares what the clients have got.
func (w *world) check() {
	w.mu.Lock()
	for _, fault := range w.faults {
		w.t.Error(fault)
	}
	w.mu.Unlock()
	all := w.rooms[0].talkers[0].messages() // checkRoom has another one sent
	for n, r := range w.rooms {
		w.checkRoom(n, r)
	}
	if w.page != nil {
		w.checkPage(all)
	}
	if log := w.log.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
		w.t.Error(log)
	}
	if w.t.Failed() {
		w.t.Fatal("The server said:\n" + w.log.String())
	}
}

// checkRoom checks that all clients of a room have got the same, and that it is what they have sent.
func (w *world) checkRoom(n int, r *testRoom) {
	all := r.talkers[0].messages()
	if len(all) != w.expected(n) {
		w.t.Errorf("%s has %d messages, and its clients have sent %d", r.path, len(all), w.expected(n))
	}
	for _, c := range r.talkers {
		if !slices.Equal(all, c.messages()) {
			w.t.Errorf("%s has not got what %s has got", c.name, r.talkers[0].name)
		}
		own := slices.DeleteFunc(slices.Clone(all), func(m message) bool { return m.name != c.name })
		for i, m := range own {
			if m.text != c.text(i) {
				w.t.Fatalf("message %d of %s is %q, and it has sent %q", i, c.name, m.text, c.text(i))
			}
		}
		for id, seq := range c.confirmed {
			if seq == 0 || seq > uint64(len(all)) || all[seq-1].id != id {
				w.t.Errorf("%s: message %q was confirmed with number %d, which another has", c.name, id, seq)
			}
		}
	}
	w.checkHistory(r, all)
}

// checkHistory checks what a new client gets, and that the next message has the next number.
func (w *world) checkHistory(r *testRoom, all []message) {
	auditor, cursor := w.process.server().enter(w.t, r.path, "auditor", 0)
	kept := all[max(0, len(all)-1000):]
	equal(w.t, len(all) > len(kept), cursor.Gone)
	equal(w.t, uint64(len(all)-len(kept)), *cursor.Seq)
	for i, want := range kept {
		got := auditor.hears("feed.message")
		equal(w.t, cursorAfter(*cursor.Seq, i), *got.Seq)
		equal(w.t, want, messageOf(got))
	}
	for _, c := range r.talkers {
		if !slices.Contains(cursor.names(), c.name) {
			w.t.Errorf("%s is there, and not among %q", c.name, cursor.names())
		}
	}
	auditor.says("the end", "the end")
	auditor.hearsSaid(uint64(len(all))+1, "auditor", "the end")
}

func cursorAfter(cursor uint64, i int) uint64 { return cursor + uint64(i) + 1 }

// checkPage checks what the page has shown, which is a part of what the others have got, before each kill and at the end.
func (w *world) checkPage(all []message) {
	var own []string
	for _, m := range all {
		if m.name == w.page.name {
			own = append(own, m.text)
		}
	}
	equal(w.t, w.page.said, own)
	for _, shown := range w.page.shown {
		for i, m := range shown {
			if m.N == 0 || m.N > len(all) || m.N != shown[0].N+i || m.Text != all[m.N-1].text {
				w.t.Errorf("the page has shown %+v as number %d after %+v", m, i, shown[0])
				break
			}
		}
	}
	if last := w.page.shown[len(w.page.shown)-1]; len(last) < min(1000, len(all)) {
		w.t.Errorf("the page shows %d of %d messages", len(last), len(all))
	}
}

// message is a message as a client has got it.
type message struct{ id, name, text string }

func messageOf(h heard) message {
	m := h.said()
	return message{h.ID, m.Name, m.Text}
}

// talker is a client. It sends one message at a time, and repeats it until it is confirmed.
type talker struct {
	w    *world
	name string

	mu        sync.Mutex
	got       []message         // in the order of their numbers, from 1; guarded by mu
	confirmed map[string]uint64 // the numbers of its own messages by ID; guarded by mu
}

func (c *talker) text(n int) string { return fmt.Sprintf("message %d of %s", n, c.name) }

// progress returns how many of its messages are confirmed, and how many messages it has got.
func (c *talker) progress() (confirmed, got int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.confirmed), len(c.got)
}

func (c *talker) messages() []message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// run connects again and again until ctx ends.
func (c *talker) run(ctx context.Context, url string) {
	opts := &edgews.ReconnectOptions{
		MinDelay: 10 * time.Millisecond, MaxDelay: 200 * time.Millisecond,
		Cursor: func() string { _, got := c.progress(); return fmt.Sprint(got) },
	}
	opts.KeepAlive, opts.KeepAliveTimeout = 300*time.Millisecond, 2*time.Second
	for s, err := range edgews.Reconnect(ctx, url, opts) {
		if err != nil {
			if ctx.Err() == nil {
				c.w.fault("%s gives up: %v", c.name, err)
			}
			return
		}
		c.talk(ctx, s)
	}
}

// talk uses a connection until it ends.
func (c *talker) talk(ctx context.Context, s *edgews.Socket) {
	frames := make(chan heard)
	go func() {
		defer close(frames)
		for msg, err := range s.Messages(ctx) {
			var h heard
			if err == nil && json.Unmarshal(msg.Data, &h) == nil {
				frames <- h
			}
		}
	}()
	var sent int               // 1 + the number of its message that was sent last over this connection
	var again <-chan time.Time // when it may be repeated
	joined := false
	for {
		next := c.w.nextKill()
		confirmed, _ := c.progress()
		if joined && again == nil && sent <= confirmed && confirmed < c.w.allowed() {
			sent = confirmed + 1
			s.Send(fmt.Sprintf(`{"id":"%s/%d","text":%q}`, c.name, confirmed, c.text(confirmed)))
		}
		select {
		case h, open := <-frames:
			if !open {
				return
			}
			if joined != (h.Type != "feed.cursor") {
				c.w.fault("%s got %q first, or two cursors", c.name, h.Type)
			}
			joined = true
			if h.Type == "slow" {
				again = time.After(time.Duration(h.Wait) * time.Millisecond)
			}
			c.hear(h)
		case <-again:
			again, sent = nil, 0
		case <-next:
		}
	}
}

// hear takes a message of the server.
func (c *talker) hear(h heard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch h.Type {
	case "feed.cursor":
		if h.Gone || *h.Seq != uint64(len(c.got)) {
			c.w.fault("%s has %d messages, and gets the cursor %d, gone: %v", c.name, len(c.got), *h.Seq, h.Gone)
		}
	case "feed.message":
		if *h.Seq != uint64(len(c.got))+1 {
			c.w.fault("%s has %d messages, and gets number %d", c.name, len(c.got), *h.Seq)
		}
		c.got = append(c.got, messageOf(h))
		c.w.got.Add(1)
	case "stored":
		c.confirmed[h.ID] = *h.Seq
	}
}

// testPage is the page of the example in a browser.
type testPage struct {
	t    *testing.T
	tab  context.Context
	name string
	said []string // the texts that it has sent

	shown [][]shownMessage // what it showed before each reload and at the end
}

// shownMessage is a message as the page shows it.
type shownMessage struct {
	N    int
	Text string
}

func openPage(t *testing.T, url string) *testPage {
	t.Helper()
	p := &testPage{t: t, tab: browser.Start(t), name: "page"}
	visit(t, p.tab, server{url: url}, p.name)
	return p
}

// say has the page send a message, whether or not it is connected.
func (p *testPage) say() {
	p.t.Helper()
	text := fmt.Sprintf("message %d of the page", len(p.said))
	browser.Evaluate(p.t, p.tab, fmt.Sprintf(`$("text").value = %q; $("composer").requestSubmit()`, text))
	p.said = append(p.said, text)
}

// reload says something and loads the page again right after that.
func (p *testPage) reload() {
	p.t.Helper()
	p.say()
	if !p.look("true") {
		p.t.Fatal("the page does not say what it shows")
	}
	browser.Evaluate(p.t, p.tab, `window.isOld = true`)
	for deadline := time.Now().Add(time.Minute); ; { // a connection on which the browser asks for the page may have been cut
		chromedp.Do(p.tab, chromedp.Reload())
		loaded, err := chromedp.Run(p.tab, chromedp.Evaluate[bool](
			`!window.isOld && document.readyState === "complete" && Boolean(document.getElementById("composer"))`))
		if loaded {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatal("the page is not loaded: ", err)
		}
	}
}

// look notes what the page shows if the condition is true, and reports whether it has: what is shown may change right after it.
func (p *testPage) look(condition string) bool {
	p.t.Helper()
	shown, err := chromedp.Run(p.tab, chromedp.Evaluate[[]shownMessage](condition+
		` ? [...document.querySelectorAll(".said:not(.pending)")].map(e => ({N: Number(e.id.slice(1)), Text: e.querySelector(".bubble").textContent})) : null`))
	if err != nil || shown == nil {
		return false
	}
	p.shown = append(p.shown, shown)
	return true
}

// hasGot reports whether the page shows the message of that number, and has no unconfirmed ones. If so it notes what it shows.
func (p *testPage) hasGot(n int) bool {
	p.t.Helper()
	return p.look(fmt.Sprintf(`waiting.size === 0 && arrived.length === 0 && cursor >= %d`, n))
}

func (p *testPage) describe() string {
	state, err := chromedp.Run(p.tab, chromedp.Evaluate[string](`$("state").textContent + ", cursor " + cursor + ", unconfirmed " + waiting.size`))
	if err != nil {
		return err.Error()
	}
	return state
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
