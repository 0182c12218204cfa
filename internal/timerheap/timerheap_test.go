package timerheap

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// fired notes the deadlines for which Fire was called, in seconds since the start, and that none came early.
type fired struct {
	t     *testing.T
	begun time.Time
	order []int
}

func (f *fired) note(deadline time.Time, v int) {
	assert.False(f.t, time.Now().Before(deadline), "early")
	assert.Equal(f.t, f.begun.Add(time.Duration(v)*time.Second), deadline)
	f.order = append(f.order, v)
}

func inBubble(t *testing.T, test func(timers *Timers[int], f *fired, add func(seconds int))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fired{t: t, begun: time.Now()}
		timers := &Timers[int]{Fire: f.note}
		test(timers, f, func(seconds int) { timers.Add(f.begun.Add(time.Duration(seconds)*time.Second), seconds) })
	})
}

func TestDeadlinesFireInOrder(t *testing.T) {
	inBubble(t, func(timers *Timers[int], f *fired, add func(int)) {
		var want []int
		for range 300 {
			n := rand.IntN(1000)
			want = append(want, n)
			add(n)
		}
		slices.Sort(want)
		time.Sleep(1001 * time.Second)
		synctest.Wait()
		assert.Equal(t, want, f.order)
		assert.Nil(t, timers.heap, "memory is given back")
	})
}

func TestAnEarlierDeadlineResetsTheTimer(t *testing.T) {
	inBubble(t, func(_ *Timers[int], f *fired, add func(int)) {
		add(10)
		add(3)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		assert.Equal(t, []int{3}, f.order)
		add(5)
		time.Sleep(7 * time.Second)
		synctest.Wait()
		assert.Equal(t, []int{3, 5, 10}, f.order)
	})
}

func TestADeadlineThatHasPassedFiresAtOnce(t *testing.T) {
	inBubble(t, func(_ *Timers[int], f *fired, add func(int)) {
		time.Sleep(2 * time.Second)
		add(1)
		synctest.Wait()
		assert.Equal(t, []int{1}, f.order)
	})
}

func TestFireMayAdd(t *testing.T) {
	inBubble(t, func(timers *Timers[int], f *fired, add func(int)) {
		timers.Fire = func(deadline time.Time, v int) {
			f.note(deadline, v)
			if v < 5 {
				add(v + 1)
			}
		}
		add(1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Equal(t, []int{1, 2, 3, 4, 5}, f.order)
	})
}

func TestStopForgetsAll(t *testing.T) {
	inBubble(t, func(timers *Timers[int], f *fired, add func(int)) {
		add(1)
		timers.Stop()
		add(2)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, f.order)
		assert.Nil(t, timers.heap)
	})
}
