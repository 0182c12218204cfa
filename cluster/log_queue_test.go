package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/memory"
)

// callingHandler calls a function for each record.
type callingHandler struct{ call func(slog.Record) }

func (h callingHandler) Enabled(context.Context, slog.Level) bool      { return true }
func (h callingHandler) Handle(_ context.Context, r slog.Record) error { h.call(r); return nil }
func (h callingHandler) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h callingHandler) WithGroup(string) slog.Handler                 { return h }

// TestLogHandlerCallsTheCluster: a handler of log records may ask the cluster that it hears of.
func TestLogHandlerCallsTheCluster(t *testing.T) {
	m := memory.New()
	t.Cleanup(func() { m.Close() })
	var c atomic.Pointer[cluster.Cluster]
	var heard sync.Map
	handler := callingHandler{func(r slog.Record) {
		if c := c.Load(); c != nil {
			c.Info()
			heard.Store(r.Message, true)
		}
	}}
	s := startSiteWith(t, m, "a", newTally, nil, func(o *cluster.Options) { o.Logger = slog.New(handler) })
	c.Store(s.Cluster)
	homeOf(t, []*site{s}, "lobby")
	s.engine.Partition(true)
	awaits(t, "the end of the lease is logged", func() bool {
		_, ended := heard.Load("edgews: cluster node is fenced: it has lost its lease")
		return ended
	})
	s.engine.Partition(false)
	awaits(t, "its shards are its own again", func() bool { return states(s.Info())["ready"] == shards })
}

// TestStuckLogHandler: a handler that blocks delays the cluster by nothing, and all records that were kept come in their order.
func TestStuckLogHandler(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		goOn := make(chan struct{})
		var order []string
		handler := callingHandler{func(r slog.Record) {
			<-goOn
			order = append(order, r.Message)
		}}
		a := l.start("a", func(o *cluster.Options) { o.Logger = slog.New(handler).With("of", "a") })
		time.Sleep(5 * time.Second)
		_, owns := a.Owns(0)
		require.True(t, owns)
		l.start("b", nil)
		time.Sleep(5 * time.Second)
		close(goOn)
		synctest.Wait()
		require.NotEmpty(t, order)
		assert.Equal(t, "edgews: joined the cluster", order[0])
		assert.Contains(t, order, "edgews: "+shardsChanged)
	})
}

// TestLogQueueIsBounded: what a stuck handler does not take is dropped, and the number of dropped records is logged.
func TestLogQueueIsBounded(t *testing.T) {
	began, goOn := make(chan struct{}, 1), make(chan struct{})
	var texts bytes.Buffer
	inner := slog.New(slog.NewTextHandler(&texts, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	stuck := callingHandler{func(r slog.Record) {
		select {
		case began <- struct{}{}:
			<-goOn
		default:
		}
		_ = inner.Handler().Handle(t.Context(), r)
	}}
	log := cluster.NewQueuedLogger(slog.New(stuck))
	assert.Same(t, log, cluster.NewQueuedLogger(log), "one queue is enough")
	log.Info("0")
	<-began
	for i := range 1100 {
		log.Info(strconv.Itoa(i + 1))
	}
	close(goOn)
	cluster.FlushLogger(log)
	lines := strings.Split(strings.TrimSpace(texts.String()), "\n")
	require.Equal(t, 1026, len(lines))
	for i, line := range lines[:1025] {
		require.Equal(t, fmt.Sprintf("level=INFO msg=%d", i), line)
	}
	assert.Equal(t, `level=WARN msg="edgews: log records were dropped: the handler is too slow" dropped=76`, lines[1025])
}

// TestLogQueueKeepsAttributes: a Logger with attributes and groups shares the queue.
func TestLogQueueKeepsAttributes(t *testing.T) {
	var texts bytes.Buffer
	log := cluster.NewQueuedLogger(slog.New(slog.NewTextHandler(&texts, &slog.HandlerOptions{Level: slog.LevelWarn})))
	log.With("a", 1).WithGroup("g").Warn("said", "b", 2)
	log.Info("below the level")
	cluster.FlushLogger(log)
	assert.Contains(t, texts.String(), "level=WARN msg=said a=1 g.b=2\n")
	assert.NotContains(t, texts.String(), "below")
	cluster.FlushLogger(log)
}

// TestLogHandlerThatNeverReturns: a node ends all the same, and its clients learn that it does.
func TestLogHandlerThatNeverReturns(t *testing.T) {
	m := memory.New()
	t.Cleanup(func() { m.Close() })
	goOn := make(chan struct{})
	t.Cleanup(func() { close(goOn) })
	s := startSiteWith(t, m, "a", newTally, nil, func(o *cluster.Options) { o.Logger = slog.New(callingHandler{func(slog.Record) { <-goOn }}) })
	c := s.dial(t, "lobby", "1")
	ask(t, c, "x")
	closed := make(chan error, 1)
	go func() { closed <- s.Cluster.Close() }()
	select {
	case err := <-closed:
		assert.NoError(t, err)
	case <-time.After(30 * time.Second):
		require.FailNow(t, "Close hangs")
	}
	awaits(t, "the client is told", func() bool { return c.ReadyState() != edgews.Open })
}

// TestLogHandlerThatEndsItsGoroutine: the next records are written all the same.
func TestLogHandlerThatEndsItsGoroutine(t *testing.T) {
	var texts []string
	log := cluster.NewQueuedLogger(slog.New(callingHandler{func(r slog.Record) {
		texts = append(texts, r.Message)
		runtime.Goexit()
	}}))
	for i := range 3 {
		log.Info(strconv.Itoa(i))
	}
	cluster.FlushLogger(log)
	assert.Equal(t, []string{"0", "1", "2"}, texts)
}
