package cluster_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/cluster"
)

func TestOneNodeOwnsAllShards(t *testing.T) {
	inLab(t, func(l *lab) {
		a := l.start("a", nil)
		assert.Equal(t, []int{shards}, l.wantOwners(a))
		assert.Equal(t, []string{"a"}, ids(a.Members()))
		epoch, _ := a.Owns(0)
		assert.Equal(t, cluster.Config{Shards: shards, Generation: 1}, a.Config())
		assert.Equal(t, a.Config().FirstEpoch(), epoch)
	})
}

func TestNodesShareTheShards(t *testing.T) {
	inLab(t, func(l *lab) {
		a := l.start("a", nil)
		synctest.Wait()
		b, c := l.start("b", nil), l.start("c", nil)
		counts := l.wantOwners(a, b, c)
		for i, n := range counts {
			assert.Greater(t, n, shards/3/3, "node %d", i)
		}
		assert.Equal(t, []string{"a", "b", "c"}, ids(b.Members()))
		assert.Equal(t, shards-counts[0], a.count("losing"), "shards that a gave away")
		assert.Zero(t, a.count("lost"))
	})
}
