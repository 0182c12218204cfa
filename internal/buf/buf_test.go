package buf_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/internal/buf"
)

// largest is the largest capacity that a pool takes.
const largest = 512 << 10

func TestGetHasRoomAndWastesLittle(t *testing.T) {
	for n := 0; n <= largest; n += max(1, n/97) {
		b := buf.Get(n)
		assert.Empty(t, b.B, "n = %d", n)
		assert.GreaterOrEqual(t, cap(b.B), n)
		assert.LessOrEqual(t, cap(b.B), max(16, n+max(15, n/4)), "n = %d", n)
		again := buf.Get(cap(b.B))
		assert.Equal(t, cap(b.B), cap(again.B), "a capacity is a size class itself")
		b.Free()
		again.Free()
	}
}

func TestLargeBuffersAreExactAndNotPooled(t *testing.T) {
	b := buf.Get(largest + 1)
	assert.Equal(t, largest+1, cap(b.B))
	b.Free()
}

func TestFreeOfNil(t *testing.T) {
	var b *buf.Buffer
	b.Free()
}

func TestForeignMemoryIsNotPooled(t *testing.T) {
	b := &buf.Buffer{B: make([]byte, 0, 17)} // no size class
	b.Free()
	other := buf.Get(17)
	assert.Equal(t, 32, cap(other.B))
}

func TestCopy(t *testing.T) {
	p := []byte("hello")
	b := buf.Copy(p)
	p[0] = 'j'
	assert.Equal(t, "hello", string(b.B))
	assert.Empty(t, buf.Copy(nil).B)
}

func TestReserve(t *testing.T) {
	b := buf.Copy([]byte("0123456789abcdef"))
	assert.Same(t, b, b.Reserve(cap(b.B)-len(b.B)))
	b.WipeOnFree = true
	larger := b.Reserve(1)
	assert.Equal(t, "0123456789abcdef", string(larger.B))
	assert.GreaterOrEqual(t, cap(larger.B), 32, "at least twice the content, so that appending costs constant time per byte")
	assert.True(t, larger.WipeOnFree)
	much := larger.Reserve(1000)
	assert.GreaterOrEqual(t, cap(much.B)-len(much.B), 1000)
}

func TestFit(t *testing.T) {
	b := buf.Get(4 << 10)
	b.B = append(b.B, make([]byte, 2<<10)...)
	assert.Same(t, b, b.Fit(), "half full")
	b.B = append(b.B[:0], "short"...)
	fitted := b.Fit()
	assert.Equal(t, "short", string(fitted.B))
	assert.Equal(t, 16, cap(fitted.B))
	assert.Same(t, fitted, fitted.Fit())
}

func TestGrow(t *testing.T) {
	b := buf.Get(64)
	b.B = append(b.B, "head and what follows"...)
	p := b.Grow(b.B[:4], 5000)
	assert.Equal(t, "head", string(p))
	assert.GreaterOrEqual(t, cap(p)-len(p), 5000)
	assert.Same(t, &p[0], &b.B[0], "b holds the new memory")
}

func TestWipeOnFree(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 64, 1000} {
		b := buf.Copy(bytes.Repeat([]byte("x"), n))
		p := b.B
		b.WipeOnFree = true
		b.Free()
		assert.Equal(t, bytes.Repeat([]byte{buf.Wiped}, n), p)
		assert.False(t, b.WipeOnFree, "the next owner decides anew")
	}
}

func TestPoison(t *testing.T) {
	if !raceEnabled {
		t.Skip("only with the race detector")
	}
	b := buf.Copy(bytes.Repeat([]byte("x"), 10_000))
	p := b.B[:5]
	b.Free()
	assert.Equal(t, bytes.Repeat([]byte{buf.Wiped}, cap(p)), p[:cap(p)])
}

func TestGetAndFreeDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random with the race detector")
	}
	allocs := testing.AllocsPerRun(1000, func() { buf.Get(1000).Free() })
	assert.Zero(t, allocs)
}
