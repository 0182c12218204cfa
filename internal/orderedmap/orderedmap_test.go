package orderedmap

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// model is a Map as a slice.
type model []entry[int, int]

func (m model) find(k int) int {
	return slices.IndexFunc(m, func(e entry[int, int]) bool { return e.key == k })
}

func (m *model) put(k, v int) {
	if i := m.find(k); i >= 0 {
		(*m)[i].value = v
		return
	}
	*m = append(*m, entry[int, int]{v, k})
}

func (m *model) delete(k int) bool {
	i := m.find(k)
	if i < 0 {
		return false
	}
	*m = slices.Delete(*m, i, i+1)
	return true
}

// check compares m with want, and looks at what m is made of.
func check(t *testing.T, want model, m *Map[int, int]) {
	t.Helper()
	require.Equal(t, len(want), m.Len())
	got := model{}
	for k, v := range m.All() {
		got = append(got, entry[int, int]{*v, k})
	}
	require.Equal(t, want, got)
	inTable := 0
	for _, i := range m.table {
		if i != 0 {
			inTable++
		}
	}
	require.Equal(t, m.Len(), inTable, "each key is in the table once")
	require.LessOrEqual(t, len(m.entries)-m.live, max(minTable, m.live/4), "entries that were deleted")
}

func TestMapBehavesLikeASlice(t *testing.T) {
	for range 200 {
		m, want := new(Map[int, int]), model{}
		keys := 1 + rand.IntN(60)
		deletes := rand.IntN(10)
		for step := range 300 {
			k := 1 + rand.IntN(keys)
			if rand.IntN(10) < deletes {
				require.Equal(t, want.delete(k), m.Delete(k))
			} else {
				want.put(k, step)
				m.Put(k, step)
			}
			k = 1 + rand.IntN(keys)
			if i := want.find(k); i < 0 {
				require.Nil(t, m.Get(k))
			} else {
				require.Equal(t, want[i].value, *m.Get(k))
			}
			check(t, want, m)
		}
	}
}

func TestAnEmptyMap(t *testing.T) {
	var m Map[string, int]
	assert.Zero(t, m.Len())
	assert.Nil(t, m.Get("a"))
	assert.False(t, m.Delete("a"))
	assert.Empty(t, m.AppendKeys(nil))
	m.Put("a", 1)
	assert.Equal(t, []string{"x", "a"}, m.AppendKeys([]string{"x"}))
	assert.True(t, m.Delete("a"))
	assert.Nil(t, m.entries, "memory is given back")
	assert.Nil(t, m.table)
	m.Put("b", 2)
	assert.Equal(t, 2, *m.Get("b"))
}

func TestAll(t *testing.T) {
	var m Map[int, int]
	for k := range 10 {
		m.Put(k+1, 0)
	}
	for k, v := range m.All() {
		*v = 2 * k
		if k == 4 {
			break
		}
	}
	assert.Equal(t, 8, *m.Get(4))
	assert.Equal(t, 0, *m.Get(5), "the loop has ended before")
}

// A set, whose values have no size, needs no memory for them.
func TestMemoryOfASet(t *testing.T) {
	assert.Equal(t, unsafe.Sizeof(0), unsafe.Sizeof(entry[int, struct{}]{}))
}

func TestMemoryShrinks(t *testing.T) {
	var m Map[int, [8]byte]
	for k := range 10_000 {
		m.Put(k+1, [8]byte{})
	}
	for k := range 9_900 {
		m.Delete(k + 1)
	}
	assert.Less(t, cap(m.entries), 200)
	assert.LessOrEqual(t, len(m.table), 256)
	assert.Equal(t, 9_901, m.AppendKeys(nil)[0])
}

func BenchmarkPutDelete(b *testing.B) {
	var m Map[int, int]
	for k := range 100_000 {
		m.Put(k+1, 0)
	}
	for k := 100_001; b.Loop(); k++ {
		m.Put(k, 0)
		m.Delete(k - 100_000)
	}
}
