package conformance_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// objectPlayer replays one scenario with clients: an object behind a real server, driven by raw TCP clients.
type objectPlayer struct {
	t       *testing.T
	s       *scenario
	rec     *recorder
	want    transcript
	quirk   objectQuirk
	ns      *edgews.Namespace
	id      edgews.ID
	server  *http.Server
	clients map[string]*rawClient
	idle    idleTime
	bubble  bool     // no clients, and time passes as it did
	inClose []func() // what WebSocketClose does

	mu        sync.Mutex
	script    serverScript // of the socket that comes next
	actions   []operation  // of the plain request that comes next
	scripts   map[*edgews.Socket]serverScript
	names     map[*edgews.Socket]string
	kept      *edgews.Socket
	instances int
	latest    *edgews.State
	ends      map[string]*actor // whose states are recorded with everything, without clients
}

// objectQuirk is what a scenario needs beyond its trace.
type objectQuirk struct {
	early   []string       // texts whose frames come in the segment of the handshake
	deaf    bool           // the client does not read
	burst   int            // messages, of which only the number was recorded
	hears   map[string]int // lines that there have to be before a handler goes on, or the client resets the connection
	second  map[string]int // lines of the object before a client sends something, where another has just done so
	lost    bool           // a handler goes on when it has seen its socket leave OPEN
	empty   bool           // a plain request comes when the object has no sockets any more
	options func(*edgews.UpgradeOptions)
}

func playObject(t *testing.T, s *scenario, want transcript, rec *recorder) map[string][]string {
	p := newObjectPlayer(t, s, rec, onlyInWait)
	p.want = want
	p.server = serve(t, p.ns.Get(p.id))
	defer p.server.Close()
	defer p.hangUp()
	p.drive()
	return objectQuirks[s.ID].fold(p.rec.result())
}

// onlyInWait: objects hibernate when the recording waited for it, however long the replay takes.
const onlyInWait = time.Duration(-1)

func newObjectPlayer(t *testing.T, s *scenario, rec *recorder, hibernateAfter time.Duration) *objectPlayer {
	p := &objectPlayer{
		t: t, s: s, rec: rec, quirk: objectQuirks[s.ID], clients: make(map[string]*rawClient),
		scripts: make(map[*edgews.Socket]serverScript), names: make(map[*edgews.Socket]string),
	}
	p.ns = edgews.NewNamespace("rooms", p.construct, &edgews.NamespaceOptions{HibernateAfter: hibernateAfter})
	p.id = p.ns.IDFromName(s.ID)
	return p
}

// hangUp ends what the scenario has left open.
func (p *objectPlayer) hangUp() {
	for _, c := range p.clients {
		c.conn.Close()
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.ns.Shutdown(over)
}

// drive plays the sides of the clients and the driver, phase by phase, until something differs.
func (p *objectPlayer) drive() {
	phase := 0
	for i := range p.s.Trace {
		e := &p.s.Trace[i]
		if c := p.client(e); c != nil {
			c.input(e)
			continue
		}
		switch {
		case e.Op == "settle":
			if !p.rec.await(p.want, phase, patience) {
				return
			}
			phase++
		case e.Op == "do-options":
			p.prepare(e.Opts)
		case e.Op == "do-fetch":
			p.fetch(e.Actions)
		case e.Op == "wait" && e.Lane == "driver":
			p.wait(time.Duration(e.MS) * time.Millisecond)
		case e.Op == "value" && p.quirk.burst > 0:
			p.burst()
		case !e.isOutcome():
			e.unknownStep(p.t)
		}
	}
	p.rec.await(p.want, atLast, patience)
}

// client returns the client that does what was recorded, if one does something. It is new when it connects.
func (p *objectPlayer) client(e *entry) *rawClient {
	switch e.Op {
	case "connect":
		c := &rawClient{t: p.t, rec: p.rec, name: e.Lane, early: p.quirk.early, deaf: p.quirk.deaf}
		c.dial(p.server.Addr)
		p.clients[e.Lane] = c
	case "tcp":
		if e.Event == "RST sent" {
			p.listenFor("object")
		}
	case "send-frame":
		p.rec.awaitLines("object", p.quirk.second[e.Lane])
	case "send-raw":
	case "settle":
		for _, c := range p.clients {
			c.input(e) // what was to come in one segment is complete
		}
		return nil
	default:
		return nil
	}
	return p.clients[e.Lane]
}

// listenFor waits until a stream has as many lines as the scenario's quirk says.
func (p *objectPlayer) listenFor(stream string) { p.rec.awaitLines(stream, p.quirk.hears[stream]) }

func (p *objectPlayer) listenToAll() {
	for stream := range p.quirk.hears {
		p.listenFor(stream)
	}
}

func (p *objectPlayer) prepare(script serverScript) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = script
}

// fetch is a plain request to the object.
func (p *objectPlayer) fetch(actions []operation) {
	p.mu.Lock()
	p.actions = actions
	p.mu.Unlock()
	for deadline := time.Now().Add(patience); p.quirk.empty && p.info().Sockets > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	w := httptest.NewRecorder()
	p.ns.Get(p.id).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	p.rec.add("fetch", "%s", describeAnswer(w.Code, nil, w.Body.String(), false))
}

func (p *objectPlayer) info() edgews.ObjectInfo {
	for o := range p.ns.Objects() {
		if o.ID == p.id {
			return o
		}
	}
	return edgews.ObjectInfo{}
}

// rested waits until no event runs.
func (p *objectPlayer) rested() edgews.ObjectInfo {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if info := p.info(); !slices.Contains(info.Pins, "event") || time.Now().After(deadline) {
			return info
		}
	}
}

// idleTime is how long the object had been idle in the recording.
type idleTime struct {
	since time.Time // when it became so, in this replay
	total time.Duration
}

// evictAfter is how long an object stays in memory, in the runtime and by default here.
const evictAfter = 10 * time.Second

// wait lets so much time pass, in the recording. Only what would have come of it happens here: an object that has been idle
// for long enough hibernates, and a peer that has not answered a Close is given up.
func (p *objectPlayer) wait(d time.Duration) {
	switch {
	case p.bubble:
		time.Sleep(d)
		return
	case p.quirk.options != nil && p.options().CloseTimeout < d:
		time.Sleep(2 * p.options().CloseTimeout)
		return
	}
	info := p.rested()
	if !info.Since.Equal(p.idle.since) {
		p.idle = idleTime{since: info.Since}
	}
	if p.idle.total += d; p.idle.total < evictAfter {
		return
	}
	if err := p.ns.Hibernate(p.t.Context(), p.id); !errors.Is(err, edgews.ErrPinned) {
		require.NoError(p.t, err)
	}
}

// options are those of the sockets that the object accepts.
func (p *objectPlayer) options() *edgews.UpgradeOptions {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.script.options(p.s)
	o.CloseTimeout = time.Minute
	if p.quirk.options != nil {
		p.quirk.options(o)
	}
	return o
}
