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
	bubble  bool     // without clients; the replay takes the recorded time
	inClose []func() // calls of WebSocketClose

	mu        sync.Mutex
	script    serverScript // of the next socket
	actions   []operation  // of the next plain request
	scripts   map[*edgews.Socket]serverScript
	names     map[*edgews.Socket]string
	kept      *edgews.Socket
	instances int
	latest    *edgews.State
	ends      map[string]*actor // whose states are recorded with each line, in scenarios without clients
}

// objectQuirk has the parameters of a scenario that its trace does not contain.
type objectQuirk struct {
	early        []string       // texts whose frames are in the TCP segment of the handshake
	doesNotRead  bool           // the client does not read
	burst        int            // number of messages, which were not recorded one by one
	awaitedLines map[string]int // number of lines, by stream, before a handler goes on or the client resets the connection
	second       map[string]int // number of lines of the object before a client sends, if another client has just sent
	lost         bool           // a handler goes on when its socket is no longer OPEN
	empty        bool           // a plain request is made when the object has no sockets any more
	options      func(*edgews.UpgradeOptions)
}

func playObject(t *testing.T, s *scenario, want transcript, rec *recorder) map[string][]string {
	p := newObjectPlayer(t, s, rec, onlyInWait)
	p.want = want
	p.server = serve(t, p.ns.Get(p.id))
	defer p.server.Close()
	defer p.closeAll()
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

// closeAll closes everything that the scenario has left open.
func (p *objectPlayer) closeAll() {
	for _, c := range p.clients {
		c.conn.Close()
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.ns.Shutdown(over)
}

// drive replays the clients and the driver, phase by phase, until a line differs.
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
			if !p.rec.await(p.want, phase, waitTimeout) {
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
	p.rec.await(p.want, lastPhase, waitTimeout)
}

// client returns the client of an entry, or nil. It is a new one if the entry is a connect.
func (p *objectPlayer) client(e *entry) *rawClient {
	switch e.Op {
	case "connect":
		c := &rawClient{t: p.t, rec: p.rec, name: e.Lane, early: p.quirk.early, doesNotRead: p.quirk.doesNotRead}
		c.dial(p.server.Addr)
		p.clients[e.Lane] = c
	case "tcp":
		if e.Event == "RST sent" {
			p.awaitStream("object")
		}
	case "send-frame":
		p.rec.awaitLines("object", p.quirk.second[e.Lane])
	case "send-raw":
	case "settle":
		for _, c := range p.clients {
			c.input(e) // all frames of the segment have been added
		}
		return nil
	default:
		return nil
	}
	return p.clients[e.Lane]
}

// awaitStream waits until a stream has the number of lines that the scenario's quirk requires.
func (p *objectPlayer) awaitStream(stream string) {
	p.rec.awaitLines(stream, p.quirk.awaitedLines[stream])
}

func (p *objectPlayer) awaitAllStreams() {
	for stream := range p.quirk.awaitedLines {
		p.awaitStream(stream)
	}
}

func (p *objectPlayer) prepare(script serverScript) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = script
}

// fetch makes a plain request to the object.
func (p *objectPlayer) fetch(actions []operation) {
	p.mu.Lock()
	p.actions = actions
	p.mu.Unlock()
	for deadline := time.Now().Add(waitTimeout); p.quirk.empty && p.info().Sockets > 0 && time.Now().Before(deadline); {
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

// waitUntilIdle waits until no event runs.
func (p *objectPlayer) waitUntilIdle() edgews.ObjectInfo {
	for deadline := time.Now().Add(waitTimeout); ; time.Sleep(time.Millisecond) {
		if info := p.info(); !slices.Contains(info.Pins, "event") || time.Now().After(deadline) {
			return info
		}
	}
}

// idleTime is the time for which the object was idle in the recording.
type idleTime struct {
	since time.Time // the time of this replay at which it became idle
	total time.Duration
}

// evictAfter is the time after which an idle object is evicted, in the runtime and by default in edgews.
const evictAfter = 10 * time.Second

// wait replays a wait of d in the recording. It takes less time here, and only causes what the wait would have caused: an object that
// was idle for long enough hibernates, and a connection whose peer has not answered a Close is cut.
func (p *objectPlayer) wait(d time.Duration) {
	switch {
	case p.bubble:
		time.Sleep(d)
		return
	case p.quirk.options != nil && p.options().CloseTimeout < d:
		time.Sleep(2 * p.options().CloseTimeout)
		return
	}
	info := p.waitUntilIdle()
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

// options returns the options of the sockets that the object accepts.
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
