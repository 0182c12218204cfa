package link_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

// Many goroutines use many channels, while connections break and channels are reset. It is for the race detector.
func TestHammer(t *testing.T) {
	const channels, messages = 40, 100
	n := newNetwork()
	var received atomic.Int64
	breakSometimes := func() {
		if received.Add(1)%400 == 0 {
			n.breakAll()
		}
	}
	a := startNode(t, n, "a", 1, nil)
	b := startNode(t, n, "b", 1, func(o *link.Options) {
		o.Accept = func(_ link.Peer, ch *link.Channel, _ []byte) link.Receiver {
			return &consumer{ch: ch, late: make(chan uint64, messages+1), after: breakSometimes}
		}
	})
	var wg sync.WaitGroup
	for i := range channels {
		wg.Go(func() {
			r := newRecorder(true)
			ch, err := a.Open(b.self, nil, uint64(i), r)
			require.NoError(t, err)
			for j := range messages {
				if i%10 == 9 && j == messages/2 {
					ch.Reset(300, nil)
					return
				}
				_, err := ch.Send(context.Background(), make([]byte, rand.IntN(3000)))
				assert.NoError(t, err)
				a.Links()
			}
			r.received(messages) // the echoes
			assert.NoError(t, ch.End(nil))
			assert.NoError(t, r.failure())
			assert.Len(t, r.seqs, messages)
		})
	}
	wg.Wait()
	assert.Greater(t, n.dials(), 5)
	go a.Remove("b", 1)
	go b.Close()
	a.Close()
}

// consumer echoes the length of each message, and consumes some of them at once and the others in another goroutine.
type consumer struct {
	ch    *link.Channel
	late  chan uint64
	after func()
	once  sync.Once
}

func (c *consumer) Message(seq uint64, p []byte) bool {
	c.once.Do(func() { go c.work() })
	if seq%3 == 0 {
		c.late <- seq
		return false
	}
	c.late <- seq
	return true
}

func (c *consumer) work() {
	for seq := range c.late {
		c.ch.Consume(seq)
		if _, err := c.ch.Send(context.Background(), []byte("echo")); err != nil {
			if !errors.Is(err, link.ErrEnded) {
				panic(err)
			}
			continue
		}
		c.after()
	}
}

func (c *consumer) Ended([]byte) { c.ch.End(nil) }
func (c *consumer) Writable()    {}
func (c *consumer) Closed(error) { close(c.late) }
