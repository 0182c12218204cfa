package treap

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entriesFrom reads at most n entries, as key=value.
func entriesFrom(t *Tree, key string, n int) (all []string) {
	t.Ascend(key, func(key string, value []byte) bool {
		if len(all) == n {
			return false
		}
		all = append(all, key+"="+string(value))
		return true
	})
	return all
}

func depth(t *Tree) int {
	if t == nil {
		return 0
	}
	return 1 + max(depth(t.left), depth(t.right))
}

func TestIsAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var tr *Tree
	naive := map[string]string{}
	for i := range 5000 {
		key := fmt.Sprint(rng.IntN(300))
		if rng.IntN(3) == 0 {
			_, was := naive[key]
			next := tr.Remove(key)
			assert.Equal(t, !was, next == tr, "removing what is not there changes nothing")
			tr = next
			delete(naive, key)
		} else {
			tr = tr.Put(key, []byte(fmt.Sprint(i)))
			naive[key] = fmt.Sprint(i)
		}
	}
	for i := range 300 {
		key := fmt.Sprint(i)
		want, has := naive[key]
		got, ok := tr.Get(key)
		require.Equal(t, has, ok, key)
		require.Equal(t, want, string(got), key)
	}
	assert.Len(t, entriesFrom(tr, "", math.MaxInt), len(naive))
	for key := range naive {
		tr = tr.Remove(key)
	}
	assert.Nil(t, tr)
}

func TestIsASnapshot(t *testing.T) {
	var tr *Tree
	for _, key := range strings.Split("f c a d b e", " ") {
		tr = tr.Put(key, []byte("old"))
	}
	before := entriesFrom(tr, "", math.MaxInt)
	changed := tr.Put("c", []byte("new")).Put("cc", nil).Remove("a").Remove("f")
	assert.Equal(t, []string{"a=old", "b=old", "c=old", "d=old", "e=old", "f=old"}, before)
	assert.Equal(t, before, entriesFrom(tr, "", math.MaxInt))
	assert.Equal(t, []string{"b=old", "c=new", "cc=", "d=old", "e=old"}, entriesFrom(changed, "", math.MaxInt))
	assert.Equal(t, []string{"cc=", "d=old"}, entriesFrom(changed, "ca", 2))
	assert.Empty(t, entriesFrom(changed, "f", 1))
}

func TestStaysShallow(t *testing.T) {
	var tr *Tree
	for i := range 1 << 14 {
		tr = tr.Put(fmt.Sprintf("%06d", i), nil) // in order, which is the worst for a plain tree
	}
	assert.Less(t, depth(tr), 4*14, "expected are about 2·ln(2¹⁴)+… = 30; without weights 16 384")
}
