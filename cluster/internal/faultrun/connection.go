package faultrun

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// connection is a client's socket, and what it has sent and got.
type connection struct {
	l       *load
	at      *Process
	room    string
	name    string
	lasts   bool // for the whole run, at a node that is not killed
	mustEnd bool // it does not last, but it is at a node that is not killed

	socket *edgews.Socket

	mu      sync.Mutex
	sent    []time.Time    // when each entry was sent
	numbers map[int]int    // that were acknowledged, by entry
	acked   int            // how many entries there are up to the last one that was acknowledged
	waits   []wait         // one for each reply
	broken  bool           // the client has noticed that the connection is lost
	closed  bool           // the client has closed it, and both ends know
	news    chan struct{}  // has one element when there is a reply, or the end
	reading sync.WaitGroup // the goroutine that receives
}

// wait is how long a reply took.
type wait struct {
	until time.Time
	took  time.Duration
}

func (l *load) connection(at *Process, room, name string, lasts bool) *connection {
	c := &connection{l: l, at: at, room: room, name: name, lasts: lasts, numbers: make(map[int]int), news: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections = append(l.connections, c)
	return c
}

// mayBreak reports whether the connection is at a node that may be killed.
func (c *connection) mayBreak() bool { return !c.lasts && !c.mustEnd }

func (c *connection) entry(n int) string { return c.name + "." + strconv.Itoa(n) }

// index returns which of the connection's entries one is.
func (c *connection) index(entry string) (n int, ok bool) {
	text, ok := strings.CutPrefix(entry, c.name+".")
	n, err := strconv.Atoi(text)
	return n, ok && err == nil
}

// failed notes that the connection is lost.
func (c *connection) failed(what string, err error) {
	c.mu.Lock()
	again := c.broken
	c.broken = true
	c.mu.Unlock()
	if !again && !c.mayBreak() {
		c.l.violated("%s: %s at node %s: %s: %v", c.room, c.name, c.at.ID, what, err)
	}
}

func (c *connection) dial() error {
	ctx, cancel := endTimeout()
	defer cancel()
	s, _, err := edgews.Dial(ctx, "ws://"+c.at.addrs.Web+"/"+c.room+"?"+url.Values{connectionQ: {c.name}}.Encode(), nil)
	if err != nil {
		c.failed("it cannot connect", err)
		return err
	}
	c.socket = s
	c.reading.Go(c.receive)
	return nil
}

func (c *connection) receive() {
	for {
		m, err := c.socket.Receive(context.Background())
		if err != nil {
			c.mu.Lock()
			closed := c.closed
			c.mu.Unlock()
			if !closed {
				c.failed("it broke", err)
			}
			c.notify()
			return
		}
		c.note(m.Text())
		c.notify()
	}
}

func (c *connection) notify() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// note notes a reply. It must be to an entry after those that have been acknowledged.
func (c *connection) note(text string) {
	var r reply
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		c.l.violated("%s: %s got %q", c.room, c.name, text)
		return
	}
	n, own := c.index(r.Entry)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !own || n >= len(c.sent):
		c.l.violated("%s: %s got the reply to an entry that it has not sent: %s", c.room, c.name, r.Entry)
		return
	case n < c.acked:
		c.l.violated("%s: the reply to %s came after that to %s", c.room, r.Entry, c.entry(c.acked-1))
		return
	}
	if err := c.checkKept(r, n); err != nil {
		c.l.violated("%s: %s: %v", c.room, r.Entry, err)
	}
	c.l.noteNumber(c.room, r)
	c.l.lost.Add(int64(n - c.acked))
	c.l.acked.Add(1)
	c.numbers[n], c.acked = r.Number, n+1
	now := time.Now()
	c.waits = append(c.waits, wait{now, now.Sub(c.sent[n])})
}

// checkKept checks the tags and the attachment that the object has found. What an entry has set in the attachment may be lost with its reply.
func (c *connection) checkKept(r reply, n int) error {
	slices.Sort(r.Tags)
	want := []string{c.name, tagOfAll}
	slices.Sort(want)
	if !slices.Equal(r.Tags, want) {
		return fmt.Errorf("the tags are %q", r.Tags)
	}
	last := -1
	if r.Last != "" {
		var own bool
		if last, own = c.index(r.Last); !own {
			return fmt.Errorf("the attachment has %s", r.Last)
		}
	}
	if last < c.acked-1 || last >= n {
		return fmt.Errorf("the attachment has %q, but entries up to %d were acknowledged", r.Last, c.acked-1)
	}
	return nil
}

// write sends the next entry. It returns false if the connection is lost.
func (c *connection) write() bool {
	ctx, cancel := endTimeout()
	defer cancel()
	c.mu.Lock()
	n := len(c.sent)
	c.sent = append(c.sent, time.Now())
	c.mu.Unlock()
	if err := c.socket.Write(ctx, edgews.Text, []byte(c.entry(n))); err != nil {
		c.failed("it broke", err)
		return false
	}
	return true
}

// awaitReply waits until the last entry is acknowledged. It returns false if it is not in time, or the connection is lost.
func (c *connection) awaitReply(within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for {
		c.mu.Lock()
		done, broken := c.acked == len(c.sent), c.broken
		c.mu.Unlock()
		switch {
		case broken:
			return false
		case done:
			return true
		}
		select {
		case <-c.news:
		case <-ctx.Done():
			return false
		}
	}
}

// last makes entries until the load ends, makes a last one, and closes.
func (c *connection) last() {
	if c.dial() != nil {
		return
	}
	tick := time.NewTicker(entryEvery)
	defer tick.Stop()
	for {
		c.mu.Lock()
		waiting := len(c.sent) - c.acked
		c.mu.Unlock()
		if c.isBroken() || waiting < entriesAhead && !c.write() {
			c.reading.Wait()
			return
		}
		select {
		case <-tick.C:
		case <-c.l.stop:
			if c.write() && !c.awaitReply(answerTimeout) && !c.isBroken() && !c.mayBreak() {
				c.l.violated("%s: %s at node %s: no reply to its last entry", c.room, c.name, c.at.ID)
			}
			c.close()
			return
		}
	}
}

// close closes the connection, and waits until both ends know.
func (c *connection) close() {
	c.mu.Lock()
	broken := c.broken
	c.closed = !broken
	c.mu.Unlock()
	_ = c.socket.Close(edgews.StatusNormalClosure, "")
	c.reading.Wait()
	if broken {
		return
	}
	ctx, cancel := endTimeout()
	defer cancel()
	select {
	case <-c.socket.Done():
	case <-ctx.Done():
		c.failed("its Close is not answered", ctx.Err())
	}
}

func (c *connection) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

func (c *connection) replies() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waits)
}

func (c *connection) hasReplySince(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked > 0 && c.sent[c.acked-1].After(t)
}

func (c *connection) worstSince(t time.Time) (worst time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.waits {
		if w.until.After(t) {
			worst = max(worst, w.took)
		}
	}
	return worst
}

// unanswered returns how many entries have been sent and not acknowledged.
func (c *connection) unanswered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent) - c.acked
}
