package faultrun

import "testing"

// testKill kills the home of objects at each phase of what it does.
func testKill(t *testing.T, e Engine, table *Table) {
	t.Run("idle", func(t *testing.T) { killIdle(t, e, table) })
	for _, phase := range []Phase{HandlerBegins, CommitBegins, CommitReturns, ReplySent, CloseStored} {
		t.Run(string(phase), func(t *testing.T) { killInEvent(t, e, phase, table) })
	}
	for _, phase := range []Phase{Activation, ClaimBegins, ClaimReturns} {
		t.Run(string(phase), func(t *testing.T) { killNextHome(t, e, phase, table) })
	}
	for _, phase := range []Phase{HandOverBegins, HandOverReturns} {
		t.Run(string(phase), func(t *testing.T) { killInHandOver(t, e, phase, table) })
	}
}

// killIdle kills a home none of whose objects is held anywhere.
func killIdle(t *testing.T, e Engine, table *Table) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Guests(a)
	r.Begin(b, c)
	r.Kill(a)
	table.Add("kill -9 of the home, its port refuses connections", r.AwaitPast())
	r.End()
}

// killInEvent kills a home in the middle of an event of one object, and starts it again.
func killInEvent(t *testing.T, e Engine, phase Phase, table *Table) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Guests(a)
	room := r.RoomOf(a)
	r.Begin(b, c)
	if phase == CloseStored {
		r.ComeAndGo(b, room)
	}
	a.Hold(phase, room)
	a.AwaitHeld(phase)
	r.Kill(a)
	table.Add("kill -9 of the home, "+string(phase), r.AwaitPast())
	r.AwaitShared(b, c, r.Start("a", nil))
	r.AwaitPast()
	r.End()
}

// killNextHome kills the home of an object, and then the next one in a phase: while it claims the shard, or constructs the object.
func killNextHome(t *testing.T, e Engine, phase Phase, table *Table) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Begin(c)
	b.Hold(phase, anyRoom)
	r.Kill(a)
	b.AwaitHeld(phase)
	r.Kill(b)
	table.Add("kill -9 of the home, then of the next one: "+string(phase), r.AwaitPast())
	r.End()
}

// killInHandOver kills a home that gives a shard away because it leaves.
func killInHandOver(t *testing.T, e Engine, phase Phase, table *Table) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Guests(a)
	r.Begin(b, c)
	a.Hold(phase, r.RoomOf(a))
	a.BeginLeave()
	a.AwaitHeld(phase)
	r.Kill(a)
	table.Add("kill -9 of the home, "+string(phase), r.AwaitPast())
	r.End()
}
