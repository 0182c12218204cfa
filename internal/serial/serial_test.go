package serial

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// owner runs functions.
type owner struct {
	mu    sync.Mutex
	queue Queue[func()]
}

func (o *owner) do(task func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.queue.Push(task) {
		go Run(o)
	}
}

func (o *owner) RunNext() bool {
	o.mu.Lock()
	task, ok := o.queue.Pop()
	o.mu.Unlock()
	if ok {
		task()
	}
	return ok
}

func TestTasksRunOneAtATimeAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, count := new(owner), 0 // count has no mutex: the race detector notices two tasks at a time
		for i := range 1000 {
			o.do(func() {
				assert.Equal(t, i, count)
				count++
			})
		}
		synctest.Wait()
		assert.Equal(t, 1000, count)
		assert.True(t, o.queue.Idle())
	})
}

func TestManyPushers(t *testing.T) {
	o, count := new(owner), 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				o.do(func() { count++ })
			}
		})
	}
	wg.Wait()
	last := make(chan struct{})
	o.do(func() { close(last) })
	<-last
	assert.Equal(t, 4000, count)
}

func TestATaskMayPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := new(owner)
		var order []int
		o.do(func() {
			o.do(func() { order = append(order, 2) })
			order = append(order, 1)
		})
		synctest.Wait()
		assert.Equal(t, []int{1, 2}, order)
	})
}

func TestGoexitDoesNotStopTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, ran := new(owner), false
		o.do(runtime.Goexit)
		o.do(func() { ran = true })
		synctest.Wait()
		assert.True(t, ran)
		assert.True(t, o.queue.Idle())
	})
}

func TestDeleteFunc(t *testing.T) {
	var q Queue[int]
	for i := range 10 {
		assert.Equal(t, i == 0, q.Push(i), "only the first task starts a goroutine")
	}
	q.Pop()
	q.DeleteFunc(func(i int) bool { return i%2 == 0 })
	assert.Equal(t, 5, q.Len())
	for _, want := range []int{1, 3, 5, 7, 9} {
		got, ok := q.Pop()
		assert.True(t, ok)
		assert.Equal(t, want, got)
	}
	assert.False(t, q.Idle(), "until Pop has found nothing")
	_, ok := q.Pop()
	assert.False(t, ok)
	assert.True(t, q.Idle())
}

func BenchmarkPushAndPop(b *testing.B) {
	var q Queue[int]
	b.ReportAllocs()
	for b.Loop() {
		q.Push(1)
		q.Pop()
	}
}
