package faultrun

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// load is what clients do during a run, and what was wrong with what they saw.
type load struct {
	r       *Run
	stop    chan struct{}
	stopped sync.Once
	talking sync.WaitGroup
	acked   atomic.Int64
	lost    atomic.Int64 // replies

	mu          sync.Mutex
	violations  []string
	connections []*connection
	numbers     map[string]string // the entries that were acknowledged, by room and number
	fault       time.Time         // when the present fault began
}

const (
	// entryEvery is how often each socket sends an entry.
	entryEvery = 100 * time.Millisecond

	// entriesAhead is how many entries may wait for their replies.
	entriesAhead = 32

	// shortEntries is after how many entries a socket that does not last is closed.
	shortEntries = 3

	// shortTimeout is how long such a socket waits for a reply.
	shortTimeout = time.Second

	// answerTimeout is how long a socket may wait for a connection, or for its last reply, when there is no fault any more.
	answerTimeout = 60 * time.Second
)

func newLoad(r *Run) *load {
	return &load{r: r, stop: make(chan struct{}), numbers: make(map[string]string)}
}

func (l *load) violated(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations = append(l.violations, fmt.Sprintf(format, args...))
}

// noteNumber notes an acknowledged number: no other entry may have it.
func (l *load) noteNumber(room string, r reply) {
	key := fmt.Sprint(room, " ", r.Number)
	l.mu.Lock()
	other := l.numbers[key]
	l.numbers[key] = r.Entry
	l.mu.Unlock()
	if other != "" {
		l.violated("%s: %s and %s were both acknowledged with number %d", room, other, r.Entry, r.Number)
	}
}

func (l *load) found() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.violations...)
}

func (l *load) isStopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// Begin begins the load at nodes that will not be killed, and waits until every socket has had a reply.
func (r *Run) Begin(stay ...*Process) {
	r.t.Helper()
	var lasting []*connection
	for i := range r.options.Sockets {
		at := stay[i%len(stay)]
		c := r.load.connection(at, rooms[i/len(stay)%len(rooms)], fmt.Sprintf("%s-lasting%d", at.ID, i), true)
		lasting = append(lasting, c)
		r.load.talking.Go(func() { c.last() })
	}
	for i, at := range stay {
		for j := range 2 {
			room := rooms[(5*i+3*j)%len(rooms)]
			r.load.talking.Go(func() { r.load.comeAndGo(at, room, fmt.Sprintf("%s-short%d", at.ID, j)) })
		}
	}
	r.awaitReplies(lasting)
}

// ComeAndGo begins load at a node that will not be killed: connections to one room that end after a few entries.
func (r *Run) ComeAndGo(at *Process, room string) {
	r.load.talking.Go(func() { r.load.comeAndGo(at, room, at.ID+"-more") })
}

// Guests begins load at a node that may be killed: one socket for each room. It waits until every one has had a reply.
func (r *Run) Guests(at *Process) {
	r.t.Helper()
	r.awaitReplies(r.beginGuests(at, "guest"))
}

// beginGuests is Guests, but does not wait for replies. kind is for the names of the sockets.
func (r *Run) beginGuests(at *Process, kind string) (guests []*connection) {
	for _, room := range rooms {
		c := r.load.connection(at, room, fmt.Sprintf("%s-%s-%s", at.ID, kind, room), false)
		guests = append(guests, c)
		r.load.talking.Go(func() { c.last() })
	}
	return guests
}

func (r *Run) awaitReplies(all []*connection) {
	r.t.Helper()
	r.eventually("every socket has a reply", func() bool {
		for _, c := range all {
			if c.replies() == 0 {
				return false
			}
		}
		return true
	})
}

// Fault notes that a fault begins.
func (r *Run) Fault() {
	r.load.mu.Lock()
	defer r.load.mu.Unlock()
	r.load.fault = time.Now()
}

// AwaitPast waits until every lasting socket has a reply to an entry that it has sent after this call. It returns the longest time that a
// socket has waited for a reply since the fault began.
func (r *Run) AwaitPast() (worst time.Duration) {
	r.t.Helper()
	now := time.Now()
	r.eventually("every socket has a reply after the fault", func() bool {
		for _, c := range r.load.all() {
			if c.lasts && !c.isBroken() && !c.hasReplySince(now) { // Check tells of those that are broken
				return false
			}
		}
		return true
	})
	return r.load.worst()
}

func (l *load) all() []*connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*connection(nil), l.connections...)
}

// worst returns the longest time that a lasting socket has waited for a reply that came since the fault began.
func (l *load) worst() (worst time.Duration) {
	l.mu.Lock()
	since := l.fault
	l.mu.Unlock()
	for _, c := range l.all() {
		if c.lasts {
			worst = max(worst, c.worstSince(since))
		}
	}
	return worst
}

// comeAndGo makes connections, one after the other.
func (l *load) comeAndGo(at *Process, room, name string) {
	for n := 0; !l.isStopped(); n++ {
		c := l.connection(at, room, fmt.Sprintf("%s-%d", name, n), false)
		c.mustEnd = true
		if c.dial() != nil {
			return
		}
		for range shortEntries {
			if !c.write() || !c.awaitReply(shortTimeout) {
				break // the reply may be lost
			}
		}
		c.close()
	}
}

// end has every lasting socket make a last entry and close.
func (l *load) end() {
	l.stopped.Do(func() { close(l.stop) })
	l.talking.Wait()
}

// endTimeout returns a context for what must succeed when there is no fault any more.
func endTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), answerTimeout)
}

// awaitAcked waits until so many more entries are acknowledged.
func (r *Run) awaitAcked(n int64) {
	r.t.Helper()
	want := r.load.acked.Load() + n
	r.eventually("entries are acknowledged", func() bool { return r.load.acked.Load() >= want })
}

// acked returns how many entries of a room have been acknowledged.
func (r *Run) acked(room string) (n int) {
	for _, c := range r.load.all() {
		if c.room == room {
			n += c.replies()
		}
	}
	return n
}

// awaitSent waits until entries of a room have been sent that are not acknowledged.
func (r *Run) awaitSent(room string) {
	r.t.Helper()
	sent := func() (n int) {
		for _, c := range r.load.all() {
			if c.room == room {
				n += c.unanswered()
			}
		}
		return n
	}
	r.eventually("entries are sent", func() bool { return sent() >= 5 })
}
