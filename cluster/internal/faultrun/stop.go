package faultrun

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testStop stops the home for longer than its lease, so that others take its objects, and has it go on.
func testStop(t *testing.T, e Engine, table *Table) {
	t.Run("fenced", func(t *testing.T) { stopHome(t, e, table) })
	t.Run("without self-fencing", func(t *testing.T) { zombieIsFenced(t, e, table) })
	t.Run("without any fence", func(t *testing.T) { zombieIsFound(t, e) })
}

// zombieIsFenced: the fence of the storage keeps out what a node commits that does not know that it is not the home any more.
func zombieIsFenced(t *testing.T, e Engine, table *Table) {
	r, zombie := runZombie(t, e, table, false)
	r.wake(zombie)
	r.End()
}

// zombieIsFound: without the fence of the storage too, the checker finds that two homes have written. This is a test of the checker.
func zombieIsFound(t *testing.T, e Engine) {
	r, zombie := runZombie(t, e, new(Table), true)
	r.beginGuests(zombie, "late-guest") // the first ones are lost if the zombie was stopped for so long that its commits have failed
	r.eventually("a client sees what is wrong", func() bool { return len(r.load.found()) > 0 })
	found := r.Check()
	require.NotEmpty(t, found)
	t.Log(found[0])
}

// stopHome stops a node that fences itself.
func stopHome(t *testing.T, e Engine, table *Table) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Guests(a)
	r.Begin(b, c)
	a.Hold(CommitBegins, r.RoomOf(a)) // and goes on with it when others are the homes
	a.AwaitHeld(CommitBegins)
	r.Fault()
	a.Stop()
	r.AwaitShared(b, c)
	table.Add("SIGSTOP of the home", r.AwaitPast())
	a.Continue()
	a.Release(CommitBegins)
	r.AwaitShared(a, b, c)
	r.AwaitPast()
	r.End()
}

// runZombie stops a node that does not fence itself and does not see that others own its shards, until they do. Then it goes on, with the entries
// of its own clients.
func runZombie(t *testing.T, e Engine, table *Table, withoutStorageFence bool) (*Run, *Process) {
	r := NewRun(t, e, Options{WithoutStorageFence: withoutStorageFence})
	a, b, c := r.StartThree(func(n *nodeConfig) { n.WithoutSelfFencing = n.ID == "a" })
	r.Guests(a)
	r.Begin(b, c)
	room := r.RoomOf(a)
	a.HoldWatch(true)
	a.Blind(true)
	r.Fault()
	if !e.InProcess {
		a.Stop()
	}
	r.AwaitShared(b, c)
	table.Add("SIGSTOP of the home, which does not fence itself", r.AwaitPast())
	if !e.InProcess {
		a.Continue()
	}
	s, err := a.state(room)
	require.NoError(t, err)
	assert.True(t, s.Home, "the node must believe that it is the home still")
	return r, a
}

// wake has a zombie see what has happened, after it has tried to commit.
func (r *Run) wake(zombie *Process) {
	r.t.Helper()
	r.eventually("the storage refuses a commit of the zombie", func() bool {
		s, err := zombie.state("")
		return err == nil && s.Refused > 0
	})
	zombie.HoldWatch(false)
	zombie.Blind(false)
	r.AwaitShared(r.running()...)
	r.AwaitPast()
}
