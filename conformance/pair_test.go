package conformance_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
)

// Group a: both ends of a pair in one worker. JavaScript runs a turn to its end before it delivers an event; see playInTurns.

// pairEnds are the names of the ends in the traces, pair by pair.
var pairEnds = [][2]string{{"a", "b"}, {"c", "d"}, {"c", "p"}}

// pairTrace returns the worker's entries. Those of the other side of a service binding come first: they
// happened during the fetch for which the worker waited.
func pairTrace(s *scenario) []*entry {
	var there, here []*entry
	for i := range s.Trace {
		e := &s.Trace[i]
		if e.Lane == "do" && e.Op == "call" {
			there = append(there, e)
		} else {
			here = append(here, e)
		}
	}
	return append(there, here...)
}

// expectPair returns the recorded transcript.
func expectPair(s *scenario) transcript {
	t := make(transcript)
	script := pairScripts[s.ID]
	for _, e := range script.withoutOmitted(pairTrace(s)) {
		switch {
		case e.Op == "call" && e.inexpressible(), t.expectSocket(e, 0, false):
		case e.Op == "wait":
			for end, rs := range e.RS {
				t.add(end, 0, "then rs=%d", rs)
			}
		case e.Op == "note" && script.notes != nil:
			t.add("notes", 0, "%s", e.Text)
		case e.Op == "value" && script.values != nil:
			t.add("values", 0, "%s: %v", e.What, e.Value.plain())
		case e.Op == "do" && script.do != nil:
			t.add("values", 0, "%s → %s", e.What, e.outcome())
		}
	}
	return t
}

// inexpressible calls have arguments that Go's types do not allow: a reason without a code.
func (e *entry) inexpressible() bool {
	return e.Method == "close" && len(e.Args) == 2 && e.Args[0].Type == "undefined" && e.Args[1].isText() && e.Args[1].text() == ""
}

// pairScript has the actions of a scenario that its trace does not contain.
type pairScript struct {
	unrecorded  map[string]bool                    // ends whose events were not recorded
	listenAfter map[string]int                     // number of waits after which an end adds its listeners
	inListeners map[string]func(*actor)            // actions of listeners, by event; see listenerCalls
	start       func(p *pairPlayer)                // adds listeners of its own
	notes       map[string]func(p *pairPlayer)     // actions for which a note stands
	values      map[string]func(p *pairPlayer) any // computations of recorded values
	do          func(what string) error            // other recorded calls
	omit        string                             // entries whose names contain it, and the values after them, have no counterpart in Go
}

// withoutOmitted removes the entries that the script omits.
func (s pairScript) withoutOmitted(trace []*entry) []*entry {
	if s.omit == "" {
		return trace
	}
	var kept []*entry
	omitting := false
	for _, e := range trace {
		if e.Op != "value" {
			omitting = strings.Contains(e.What, s.omit)
		}
		if !omitting {
			kept = append(kept, e)
		}
	}
	return kept
}

// pairPlayer replays one scenario.
type pairPlayer struct {
	t      *testing.T
	rec    *recorder
	script pairScript
	actors map[string]*actor
	waits  int
}

// playPair replays s in a bubble and returns the transcript.
func playPair(t *testing.T, s *scenario, rec *recorder) map[string][]string {
	p := &pairPlayer{t: t, rec: rec, script: pairScripts[s.ID], actors: make(map[string]*actor)}
	synctest.Test(t, func(t *testing.T) {
		p.play(s)
		p.hangUp()
	})
	return p.rec.result()
}

func (p *pairPlayer) play(s *scenario) {
	trace := p.script.withoutOmitted(pairTrace(s))
	script, inside := splitTrace(trace)
	p.build(trace, s.halfOpen(), inside)
	if p.script.start != nil {
		p.script.start(p)
	}
	p.rec.turn.Lock()
	for _, e := range script {
		p.step(e)
	}
	p.pause(quietEnd)
	p.rec.turn.Unlock()
}

// pause ends the worker's turn and begins another one after d.
func (p *pairPlayer) pause(d time.Duration) {
	p.rec.turn.Unlock()
	time.Sleep(d)
	synctest.Wait()
	p.rec.turn.Lock()
}

// build makes the pairs of the trace.
func (p *pairPlayer) build(trace []*entry, halfOpen bool, inside listenerCalls) {
	named := make(map[string]bool)
	for _, e := range trace {
		for end := range e.RS {
			named[end] = true
		}
	}
	for _, ends := range pairEnds {
		if !named[ends[0]] || p.actors[ends[0]] != nil || !named[ends[1]] && ends[1] == "d" && named["p"] {
			continue
		}
		first, second := edgews.NewPair()
		for i, socket := range []*edgews.Socket{first, second} {
			a := &actor{name: ends[i], s: socket, rec: p.rec, halfOpen: halfOpen, ends: p.actors}
			a.react = inside.of(a, p.script.inListeners)
			p.actors[a.name] = a
			if _, late := p.script.listenAfter[a.name]; !late && !p.script.unrecorded[a.name] && named[a.name] {
				a.listen()
			}
		}
	}
}

// step replays an entry of the scenario itself.
func (p *pairPlayer) step(e *entry) {
	switch {
	case e.Op == "wait":
		p.wait(e)
	case e.Op == "note" && p.script.notes != nil:
		p.note(e)
	case e.Op == "value" && p.script.values[e.What] != nil:
		p.rec.add("values", "%s: %v", e.What, p.script.values[e.What](p))
	case e.Op == "do" && p.script.do != nil:
		p.rec.add("values", "%s → %s", e.What, outcome(p.script.do(e.What)))
	case e.Op == "call" && e.inexpressible():
	case (e.Op == "call" || e.Op == "get") && p.actors[e.Target] != nil && p.actors[e.Target].do(e):
		p.listenLate(e)
	case !e.isOutcome():
		e.unknownStep(p.t)
	}
}

// listenLate adds listeners to an end that was accepted without any, after the number of waits in the script.
func (p *pairPlayer) listenLate(e *entry) {
	if waits, late := p.script.listenAfter[e.Target]; late && waits == 0 && e.Method == "accept" {
		p.actors[e.Target].listen()
	}
}

func (p *pairPlayer) wait(e *entry) {
	p.pause(time.Duration(e.MS) * time.Millisecond)
	for end := range e.RS {
		p.actors[end].waited()
	}
	p.waits++
	for end, waits := range p.script.listenAfter {
		if waits == p.waits {
			p.actors[end].listen()
		}
	}
}

// note makes the action for which a note stands. Other notes were written by listeners.
func (p *pairPlayer) note(e *entry) {
	if do := p.script.notes[e.Text]; do != nil {
		p.rec.add("notes", "%s", e.Text)
		do(p)
	}
}

// hangUp closes everything that the scenario has left open, so that no timer is left in the bubble.
func (p *pairPlayer) hangUp() {
	for _, a := range p.actors {
		a.rec = newRecorder()
	}
	for _, a := range p.actors {
		a.s.Accept()
		a.s.Close(edgews.StatusGoingAway, "")
	}
	time.Sleep(time.Minute)
}
