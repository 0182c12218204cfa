package faultrun

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// testPartition cuts nodes off from each other and from the engine.
func testPartition(t *testing.T, e Engine, table *Table) {
	for _, f := range []struct {
		name string
		cut  func(*Route, bool)
	}{
		{"home from engine", (*Route).HoldBoth},
		{"home from engine, answers only", func(r *Route, on bool) { r.Hold(Answers, on) }},
	} {
		t.Run(f.name, func(t *testing.T) { cutFromEngine(t, e, table, f.name, f.cut) })
	}
	t.Run("edge from home", func(t *testing.T) { cutLinks(t, e, table) })
	t.Run("answers of the engine are lost", func(t *testing.T) { loseAnswers(t, e, table) })
	t.Run("stale view", func(t *testing.T) { staleView(t, e, table) })
}

// cutFromEngine cuts a home off from the engine until others have its objects.
func cutFromEngine(t *testing.T, e Engine, table *Table, name string, cut func(*Route, bool)) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Guests(a)
	r.Begin(b, c)
	r.Fault()
	for _, route := range r.ToEngine(a) {
		cut(route, true)
	}
	r.AwaitShared(b, c)
	table.Add("cut: "+name, r.AwaitPast())
	for _, route := range r.ToEngine(a) {
		cut(route, false)
	}
	r.AwaitShared(a, b, c)
	r.AwaitPast()
	r.End()
}

// cutLinks cuts two nodes off from each other: in one direction, in the other, in both, and again and again. Both are connected to the engine, so
// that nothing moves.
func cutLinks(t *testing.T, e Engine, table *Table) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Begin(b, c)
	there, back := r.Between(a, b)
	toB := func(on bool) { there.Hold(Requests, on); back.Hold(Answers, on) }
	toA := func(on bool) { there.Hold(Answers, on); back.Hold(Requests, on) }
	r.Fault()
	for _, hold := range []func(bool){toB, toA, func(on bool) { toA(on); toB(on) }} {
		hold(true)
		r.awaitAcked(300) // of those who are not concerned
		hold(false)
		r.AwaitPast()
	}
	table.Add("cut: edge from home, for as long as 300 entries take", r.AwaitPast())
	r.Fault()
	for range 5 {
		there.Break()
		back.Break()
		r.awaitAcked(20)
	}
	table.Add("the links of edge and home break 5 times", r.AwaitPast())
	r.End()
}

// loseAnswers has the connections of a home to the engine break when it waits for answers.
func loseAnswers(t *testing.T, e Engine, table *Table) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Begin(b, c)
	room := r.RoomOf(a)
	r.Fault()
	for range 2 {
		before := r.acked(room)
		for _, route := range r.ToEngine(a) {
			route.Hold(Answers, true)
		}
		r.awaitSent(room)
		for _, route := range r.ToEngine(a) {
			route.Break()
			route.Hold(Answers, false)
		}
		r.eventually("the room goes on", func() bool { return r.acked(room) > before })
	}
	table.Add("answers of the engine are lost twice", r.AwaitPast())
	for _, route := range r.ToEngine(a) {
		route.Delay(Answers, 5*time.Millisecond)
	}
	r.AwaitPast()
	r.End()
}

// staleView has one node see nothing while another one is killed and a third one leaves.
func staleView(t *testing.T, e Engine, table *Table) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	d := r.Start("d", nil)
	r.AwaitShared(a, b, c, d)
	r.Begin(b, c)
	b.HoldWatch(true)
	r.Kill(a)
	left := d.BeginLeave()
	r.awaitAcked(200)
	b.HoldWatch(false)
	r.AwaitShared(b, c)
	table.Add("one node sees nothing while one is killed and one leaves", r.AwaitPast())
	assert.NoError(t, <-left)
	d.kill()
	r.End()
}
