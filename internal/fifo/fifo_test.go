package fifo

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A queue does what a slice does, in random steps.
func TestQueueIsASlice(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var q Queue[int]
		var want []int
		for next := range 300 {
			switch r.IntN(8) {
			case 0, 1, 2, 3:
				q.Push(next)
				want = append(want, next)
			case 4, 5:
				if len(want) > 0 {
					require.Equal(t, want[0], q.Pop())
					want = want[1:]
				}
			case 6:
				if n := r.IntN(len(want) + 1); r.IntN(4) == 0 {
					q.Truncate(n)
					want = want[:n]
				}
			case 7:
				if r.IntN(4) == 0 {
					odd := func(i int) bool { return i%2 == 1 }
					q.DeleteFunc(odd)
					var even []int
					for _, i := range want {
						if !odd(i) {
							even = append(even, i)
						}
					}
					want = even
				}
				q.Shrink()
			}
			require.Equal(t, len(want), q.Len())
			require.Equal(t, append([]int{}, want...), append([]int{}, q.Items()...))
			if len(want) > 0 {
				require.Equal(t, want[0], *q.Front())
				require.Equal(t, want[len(want)-1], *q.Back())
			}
		}
	}
}

func TestBurstIsForgotten(t *testing.T) {
	var q Queue[*int]
	for range 10 * maxKept {
		q.Push(new(int))
	}
	for q.Len() > 0 {
		q.Pop()
	}
	require.LessOrEqual(t, cap(q.items), maxKept)
	q.Push(new(int))
	q.Shrink()
	require.Equal(t, 1, q.Len())
	q.Pop()
	q.Shrink()
	require.Nil(t, q.items)
}

// What has been taken out is not kept from the garbage collector.
func TestNothingIsRetained(t *testing.T) {
	var q Queue[*int]
	for range 8 {
		q.Push(new(int))
	}
	q.Pop()
	q.Truncate(3)
	for i, p := range q.items[:cap(q.items)] {
		require.Equal(t, i >= 1 && i < 4, p != nil, "item %d", i)
	}
}

func TestQueueAllocatesNothing(t *testing.T) {
	var q Queue[int]
	q.Push(1)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		q.Push(2)
		q.Pop()
	}))
}
