package faultrun

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// hammerFor is how long the faults are mixed at random; 0: not at all.
func hammerFor() time.Duration {
	d, err := time.ParseDuration(os.Getenv("EDGEWS_HAMMER"))
	if err != nil {
		return 0
	}
	return d
}

// testMixed has faults happen to one cluster in a random order, while all routes are slow now and then.
func testMixed(t *testing.T, e Engine) {
	until := time.Now().Add(hammerFor())
	for time.Now().Before(until) {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			runMixed(t, e, rand.New(rand.NewPCG(seed, 1)), min(time.Until(until), maxMixed))
		})
		if t.Failed() {
			return
		}
	}
}

// maxMixed is how long one cluster is used: the checks at its end find nothing that is older and was overwritten.
const maxMixed = time.Minute

func runMixed(t *testing.T, e Engine, rng *rand.Rand, d time.Duration) {
	r := NewRun(t, e, Options{})
	a, b, c := r.StartThree(nil)
	r.Begin(b, c)
	for until := time.Now().Add(d); time.Now().Before(until); {
		r.delayRoutes(rng)
		switch fault := rng.IntN(6); fault {
		case 0, 1:
			phase := []Phase{HandlerBegins, CommitBegins, CommitReturns, ReplySent, HandOverBegins, HandOverReturns}[rng.IntN(6)]
			t.Log("kill:", phase)
			a.Hold(phase, r.RoomOf(a))
			if phase == HandOverBegins || phase == HandOverReturns {
				a.BeginLeave()
			}
			a.AwaitHeld(phase)
			r.Kill(a)
			r.AwaitPast()
			a = r.Start("a", nil)
		case 2:
			t.Log("stop")
			if CanStop && !e.InProcess {
				a.Stop()
				r.AwaitShared(b, c)
				a.Continue()
			}
		case 3:
			t.Log("cut off from the engine")
			for _, route := range r.ToEngine(a) {
				route.HoldBoth(true)
			}
			r.AwaitShared(b, c)
			for _, route := range r.ToEngine(a) {
				route.HoldBoth(false)
			}
		case 4:
			t.Log("links break")
			there, back := r.Between(a, c)
			for range 3 {
				there.Break()
				back.Break()
				r.awaitAcked(20)
			}
		case 5:
			t.Log("a node sees nothing")
			b.HoldWatch(true)
			r.Kill(a)
			r.awaitAcked(50)
			b.HoldWatch(false)
			a = r.Start("a", nil)
		}
		r.AwaitShared(a, b, c)
		r.AwaitPast()
	}
	r.End()
}

// delayRoutes makes about a third of the routes slow, and the others fast.
func (r *Run) delayRoutes(rng *rand.Rand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, route := range r.routes {
		d := time.Duration(max(0, rng.IntN(30)-20)) * time.Millisecond
		route.Delay(Requests, d)
		route.Delay(Answers, d)
	}
}
