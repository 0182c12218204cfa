package conformance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
)

// Scenarios of group d without clients run in a bubble. In most of them a script calls the methods of an object's state and of the ends
// of a pair.

// objectScript is the script of such a scenario.
type objectScript struct {
	tags           []string                             // of b, when it is accepted before the trace begins; nil: it is not
	eventsRecorded bool                                 // the events of a were recorded
	start          func(p *scriptedObject)              // before the trace begins
	do             map[string]func(*scriptedObject) any // calls by name that are not in stateCalls
	omit           []string                             // names of calls that have no counterpart in Go
}

func (s objectScript) omits(what string) bool { return slices.Contains(s.omit, what) }

// scriptedObject is an object that a script controls, with the ends of a pair, of which b is for the object.
type scriptedObject struct {
	*objectPlayer
	script objectScript
	st     *edgews.State
	actors map[string]*actor
	last   *edgews.Socket            // the last argument of acceptWebSocket
	named  map[string]*edgews.Socket // others that the script has accepted
}

// playBubble replays a scenario without clients.
func playBubble(t *testing.T, s *scenario, want transcript, rec *recorder) map[string][]string {
	synctest.Test(t, func(t *testing.T) {
		p := newObjectPlayer(t, s, rec, 0) // as by default
		p.want, p.bubble = want, true
		defer p.closeAll()
		if s.does("do-fetch") {
			p.drive()
			return
		}
		script := &scriptedObject{objectPlayer: p, script: objectScripts[s.ID], named: make(map[string]*edgews.Socket)}
		script.play()
		script.closeAll()
	})
	return rec.result()
}

func (s *scenario) does(op string) bool {
	return slices.ContainsFunc(s.Trace, func(e entry) bool { return e.Op == op })
}

func (p *scriptedObject) play() {
	p.begin()
	var inClose []func()
	for i := range p.s.Trace {
		if e := &p.s.Trace[i]; e.Op == "do" && strings.Contains(e.What, "in webSocketClose") {
			inClose = append(inClose, func() { p.try(e.What) })
		}
	}
	p.inClose = inClose
	p.rec.turn.Lock()
	for i := range p.s.Trace {
		p.step(&p.s.Trace[i])
	}
	p.pause(quietEnd)
	p.rec.turn.Unlock()
}

// pause ends the script's turn and begins another one after d.
func (p *scriptedObject) pause(d time.Duration) {
	p.rec.turn.Unlock()
	time.Sleep(d)
	synctest.Wait()
	p.rec.turn.Lock()
}

// begin constructs the object, which was not recorded, and makes the pair.
func (p *scriptedObject) begin() {
	rec := p.rec
	p.rec = newRecorder()
	p.fetch(nil)
	p.rec, p.st = rec, p.latest
	a, b := edgews.NewPair()
	p.names[a], p.names[b] = "a", "b"
	p.actors = map[string]*actor{"a": p.actor(a), "b": p.actor(b)}
	p.ends = p.actors
	if p.script.eventsRecorded {
		p.actors["a"].listen()
	}
	if p.script.tags != nil {
		_ = p.st.AcceptWebSocket(b, p.script.tags...)
	}
	if p.script.start != nil {
		p.script.start(p)
	}
}

func (p *scriptedObject) a() *edgews.Socket { return p.actors["a"].s }
func (p *scriptedObject) b() *edgews.Socket { return p.actors["b"].s }

func (p *scriptedObject) step(e *entry) {
	switch {
	case e.Op == "wait":
		p.pause(time.Duration(e.MS) * time.Millisecond)
		for name := range e.RS {
			p.actors[name].waited()
		}
	case e.Op == "do" && !strings.Contains(e.What, "in webSocketClose") && !p.script.omits(e.What):
		p.try(e.What)
	case e.Op == "value":
		p.rec.add("object", "%s: %s", e.What, show(p.call(e.What)))
	case e.Method == "serializeAttachment":
		err := p.b().SetAttachment(e.Args[0].text())
		p.actors["b"].note("attach %s → %s", e.Args[0].show(), outcome(err))
	case e.Method == "deserializeAttachment":
		p.actors["b"].note("attached: %s", show(p.attached()))
	case (e.Op == "call" || e.Op == "get") && p.actors[e.Target] != nil && (e.inexpressible() || p.actors[e.Target].do(e)):
	case e.Op == "do": // made by a handler, or without a counterpart in Go
	case !e.isOutcome():
		e.unknownStep(p.t)
	}
}

// try makes a call and records the result.
func (p *scriptedObject) try(what string) { p.room().recordResult(what, p.call(what)) }

func (p *scriptedObject) room() *room { return &room{p: p.objectPlayer, st: p.st} }

// call makes the call with a name.
func (p *scriptedObject) call(what string) any {
	do := p.script.do[what]
	if do == nil {
		do = stateCalls[what]
	}
	if do == nil {
		return fmt.Errorf("the script does not know how to do that")
	}
	return do(p)
}

// accept calls AcceptWebSocket.
func (p *scriptedObject) accept(s *edgews.Socket, tags ...string) any {
	p.last = s
	return noError(p.st.AcceptWebSocket(s, tags...))
}

// noError makes a nil error a nil interface.
func noError(err error) any {
	if err == nil {
		return nil
	}
	return err
}

// acceptAnother calls AcceptWebSocket with an end of a new pair.
func (p *scriptedObject) acceptAnother(tags ...string) any {
	_, s := edgews.NewPair()
	return p.accept(s, tags...)
}

// tagsOf returns the tags of a socket, or the error.
func (p *scriptedObject) tagsOf(s *edgews.Socket) any {
	tags, err := p.st.Tags(s)
	if err != nil {
		return err
	}
	return tags
}

// attached returns the attachment of b.
func (p *scriptedObject) attached() any {
	var v json.RawMessage
	if err := p.b().Attachment(&v); errors.Is(err, edgews.ErrNoAttachment) {
		return undefined
	} else if err != nil {
		return err
	}
	return v
}

// closeAll closes everything that the script has left open, so that no timer is left in the bubble.
func (p *scriptedObject) closeAll() {
	p.rec = newRecorder()
	for _, a := range p.actors {
		a.rec = p.rec
		_ = a.s.Accept()
		_ = a.s.Close(edgews.StatusGoingAway, "")
	}
	for _, s := range p.st.WebSockets() {
		_ = s.Close(edgews.StatusGoingAway, "")
	}
	time.Sleep(time.Minute)
}
