package conformance_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edgews/edgews"
)

// Scenarios of group a in which a worker fetches from itself or from an object's stub. In Go that is a Dial to a server in the same
// process. c is the socket that Dial returns.

// fetchHandlers are the handlers that answer, by scenario.
var fetchHandlers = map[string]func(*fetchPlayer) http.Handler{
	"a-return-accepted-end":              returnsAccepted,
	"a-end-used-in-response-then-accept": usesAgain,
	"a-return-hibernated":                returnsHibernated,
	"a-stub-server-closes":               closingStub,
	"a-stub-server-closes@manual":        closingStub,
}

// expectFetched returns the recorded transcript. A phase ends where the worker waited.
func expectFetched(s *scenario) transcript {
	t := make(transcript)
	phase := 0
	for i := range s.Trace {
		e := &s.Trace[i]
		switch {
		case e.Lane == "do":
			t.expectObject(s, e, lastPhase)
		case e.Op == "response":
			t.add("fetch", phase, "response %d", e.Status)
		case e.Op == "wait":
			t.add("c", phase, "then rs=%d", e.RS["c"])
			phase++
		case e.Op == "do":
			t.add("a", phase, "%s → %s", e.What, e.outcome())
		default:
			t.expectSocket(e, phase, false)
		}
	}
	return t
}

// fetchPlayer replays one scenario.
type fetchPlayer struct {
	t    *testing.T
	s    *scenario
	rec  *recorder
	want transcript
	room *objectPlayer // with the object that answers, or nil
	c    *actor
}

func playFetched(t *testing.T, s *scenario, want transcript, rec *recorder) map[string][]string {
	p := &fetchPlayer{t: t, s: s, rec: rec, want: want}
	srv := serve(t, fetchHandlers[s.ID](p))
	defer srv.Close()
	if p.room != nil {
		defer p.room.closeAll()
	}
	p.play("http://" + srv.Addr)
	got := p.rec.result()
	if p.c != nil {
		p.c.s.Close(edgews.StatusGoingAway, "")
	}
	return got
}

func (p *fetchPlayer) play(url string) {
	c, resp, err := edgews.Dial(p.t.Context(), url, fetchOptions(nil))
	p.rec.turn.Lock()
	p.fetched(c, resp, err)
	p.rec.turn.Unlock()
	p.rec.await(p.want, lastPhase, waitTimeout)
}

// fetched records the answer and makes the worker's calls.
func (p *fetchPlayer) fetched(c *edgews.Socket, resp *http.Response, err error) {
	if e, ok := errors.AsType[*edgews.HandshakeError](err); ok {
		p.rec.add("fetch", "response %d", e.StatusCode)
		return
	}
	p.rec.add("fetch", "response %d", resp.StatusCode)
	p.c = &actor{name: "c", s: c, rec: p.rec, halfOpen: p.s.halfOpen()}
	p.c.listen()
	phase := 0
	for i := range p.s.Trace {
		switch e := &p.s.Trace[i]; {
		case e.Op == "wait":
			p.rec.turn.Unlock()
			p.rec.awaitLines("c", p.want.expected("c", phase)-1)
			p.rec.turn.Lock()
			p.c.waited()
			phase++
		case e.Op == "call" && e.Target == "c" && p.c.do(e):
		case e.Lane == "worker" && !e.isOutcome():
			e.unknownStep(p.t)
		}
	}
}

func (p *fetchPlayer) options() *edgews.UpgradeOptions { return serverScript{}.options(p.s) }

// returnsAccepted calls Respond with an end that was accepted.
func returnsAccepted(p *fetchPlayer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, _ := edgews.NewPair()
		_ = client.Accept()
		_ = edgews.Respond(w, r, client, p.options())
	})
}

// usesAgain uses an end after passing it to Respond.
func usesAgain(p *fetchPlayer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, server := edgews.NewPair()
		_ = server.Accept()
		_ = edgews.Respond(w, r, client, p.options())
		a := &actor{name: "a", s: client, rec: p.rec}
		for i := range p.s.Trace {
			if e := &p.s.Trace[i]; e.Lane == "server" && e.Op != "do" {
				a.do(e)
			}
		}
		err := edgews.Respond(httptest.NewRecorder(), r, client, p.options())
		a.note("new Response with it → %s", outcome(err))
	})
}

// returnsHibernated is an object that calls Respond with an end that it has accepted.
func returnsHibernated(p *fetchPlayer) http.Handler {
	rooms := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, server := edgews.NewPair()
			_ = st.AcceptWebSocket(server)
			_ = edgews.Respond(w, r, server, p.options())
		}), nil
	}, nil)
	return rooms.Get(rooms.IDFromName(p.s.ID))
}

// closingStub is an object that sends a message and closes before it answers.
func closingStub(p *fetchPlayer) http.Handler {
	p.room = newObjectPlayer(p.t, p.s, p.rec, onlyInWait)
	p.room.prepare(serverScript{Tags: []string{"s"}, Pre: []operation{{"send", "one"}, {"close", 4005.0, "from the object"}}})
	return p.room.ns.Get(p.room.id)
}
