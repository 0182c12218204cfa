package cluster_test

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// joinOptions are options with which Join succeeds.
func joinOptions(t *testing.T, m *memory.Memory, id string) cluster.JoinOptions {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return cluster.JoinOptions{
		Options:  cluster.Options{Engine: m.Connect(), Self: cluster.Member{ID: id}, Config: cluster.Config{Shards: shards}, Logger: slog.New(slog.DiscardHandler)},
		Listener: l,
	}
}

// TestJoinOptionsThatAreWrong: each is refused before the process is a member to which others give shards, and the error names the option.
func TestJoinOptionsThatAreWrong(t *testing.T) {
	m := memory.New()
	defer m.Close()
	everywhere, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer everywhere.Close()
	secret := bytes.Repeat([]byte("s"), 32)
	for want, change := range map[string]func(*cluster.JoinOptions){
		"Engine":                  func(o *cluster.JoinOptions) { o.Engine = nil },
		"Listener is nil":         func(o *cluster.JoinOptions) { o.Listener = nil },
		"the hooks":               func(o *cluster.JoinOptions) { o.Lost = func(cluster.Ownership) {} },
		"Secret has 3 bytes":      func(o *cluster.JoinOptions) { o.Secret = secret[:3] },
		"TTL is -1ns":             func(o *cluster.JoinOptions) { o.TTL = -1 },
		"RenewEvery is 1h0m0s":    func(o *cluster.JoinOptions) { o.RenewEvery = time.Hour },
		"HandoversAtOnce is -1":   func(o *cluster.JoinOptions) { o.HandoversAtOnce = -1 },
		"AnnounceWithin is -1":    func(o *cluster.JoinOptions) { o.AnnounceWithin = -1 },
		"Shards is -1":            func(o *cluster.JoinOptions) { o.Config.Shards = -1 },
		"Self.Addr is not":        func(o *cluster.JoinOptions) { o.Self.Addr = "somewhere" },
		"set Self.Addr to":        func(o *cluster.JoinOptions) { o.Listener, o.Secret = everywhere, secret },
		"connect to 0.0.0.0:7000": func(o *cluster.JoinOptions) { o.Self.Addr = "0.0.0.0:7000" },
		"connect to :7000":        func(o *cluster.JoinOptions) { o.Self.Addr = ":7000" },
		"neither a secret":        func(o *cluster.JoinOptions) { o.Listener, o.Self.Addr = everywhere, "127.0.0.1:7000" },
		"255 bytes":               func(o *cluster.JoinOptions) { o.Name = strings.Repeat("n", 300) },
	} {
		o := joinOptions(t, m, "a")
		change(&o)
		c, err := cluster.Join(t.Context(), o)
		if err == nil {
			c.Close()
		}
		require.ErrorIs(t, err, cluster.ErrConfig, want)
		assert.ErrorContains(t, err, want)
	}
}

// TestWrongSecretIsLogged, also by a member that has no Logger of its own.
func TestWrongSecretIsLogged(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var log logged
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	m := memory.New()
	defer m.Close()
	for _, id := range []string{"a", "b"} {
		o := joinOptions(t, m, id)
		o.Secret, o.Logger = bytes.Repeat([]byte(id), 32), nil
		c, err := cluster.Join(t.Context(), o)
		require.NoError(t, err)
		defer c.Close()
	}
	require.Eventually(t, func() bool { return len(log.lines("authentication failed")) > 0 }, 20*time.Second, 10*time.Millisecond)
}
