package edgews_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews"
)

func TestNamespaceTellsItsCluster(t *testing.T) {
	alone := edgews.NewNamespace("alone", NewGardenReminder, nil)
	defer alone.Shutdown(context.Background())
	assert.Nil(t, alone.Cluster())
	_, ok := alone.Cluster().(edgews.ClusterInformer)
	assert.False(t, ok)
}

func TestStateOfClusterMembers(t *testing.T) {
	for want, m := range map[string]edgews.ClusterMemberInfo{
		"alive":   {TTL: time.Second, BeatAge: time.Second},
		"late":    {TTL: time.Second, BeatAge: time.Second + 1, Leaving: true},
		"leaving": {TTL: time.Second, Leaving: true},
		"refused": {TTL: time.Second, Refused: true, Leaving: true},
		"absent":  {Absent: true, Refused: true},
	} {
		assert.Equal(t, want, m.State())
	}
	for s, want := range []string{"unowned", "remote", "waiting", "ready", "leaving"} {
		assert.Equal(t, want, edgews.ClusterShardState(s).String())
	}
}
