package link_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

// network connects nodes in memory. It works in a synctest bubble.
type network struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	conns     []net.Conn
	// wrap, if not nil, changes the ends of a new connection; i counts the connections.
	wrap func(i int, dialed, accepted net.Conn) (net.Conn, net.Conn)
}

func newNetwork() *network { return &network{listeners: make(map[string]*memListener)} }

func (n *network) listen(addr string) *memListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &memListener{network: n, addr: addr, conns: make(chan net.Conn, 16), done: make(chan struct{})}
	n.listeners[addr] = l
	return l
}

func (n *network) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[addr]
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}
	}
	dialed, accepted := net.Pipe()
	if n.wrap != nil {
		dialed, accepted = n.wrap(len(n.conns), dialed, accepted)
	}
	n.conns = append(n.conns, dialed)
	select {
	case l.conns <- accepted:
		return dialed, nil
	default:
		return nil, errors.New("the listener does not accept")
	}
}

// hide makes the address refuse connections.
func (n *network) hide(addr string) *memListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[addr]
	delete(n.listeners, addr)
	return l
}

// show ends hide.
func (n *network) show(l *memListener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[l.addr] = l
}

// breakAll closes all connections.
func (n *network) breakAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.Close()
	}
}

// dials returns how many connections there were.
func (n *network) dials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

type memListener struct {
	network *network
	addr    string
	conns   chan net.Conn
	once    sync.Once
	done    chan struct{}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		if l.network.listeners[l.addr] == l {
			delete(l.network.listeners, l.addr)
		}
	})
	return nil
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (l *memListener) Addr() net.Addr { return pipeAddr{} }

// node is a Manager with a listener, which records what happens.
type node struct {
	*link.Manager
	t      testing.TB
	self   link.Peer
	events chan link.Event
	opened chan *recorder // the channels that peers have opened
	serve  chan error
}

// startNode starts a node in the network; change may change its options.
func startNode(t testing.TB, n *network, id string, incarnation uint64, change func(*link.Options)) *node {
	l := n.listen(id)
	return startNodeOn(t, l, id, link.Peer{ID: id, Incarnation: incarnation, Addr: id}, func(o *link.Options) {
		o.Dial = n.dial
		if change != nil {
			change(o)
		}
	})
}

// startTCPNode starts a node that listens on TCP.
func startTCPNode(t testing.TB, id string, change func(*link.Options)) *node {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return startNodeOn(t, l, id, link.Peer{ID: id, Incarnation: 1, Addr: l.Addr().String()}, change)
}

func startNodeOn(t testing.TB, l net.Listener, id string, self link.Peer, change func(*link.Options)) *node {
	n := &node{
		t: t, self: self, events: make(chan link.Event, 1000), opened: make(chan *recorder, 1000), serve: make(chan error, 1),
	}
	o := link.Options{
		Self: self, Cluster: "test",
		Event: func(e link.Event) { n.events <- e },
		Accept: func(from link.Peer, ch *link.Channel, greeting []byte) link.Receiver {
			r := newRecorder(string(greeting) != "stuck")
			r.Channel, r.from, r.greeting = ch, from, string(greeting)
			n.opened <- r
			return r
		},
	}
	if change != nil {
		change(&o)
	}
	var err error
	n.Manager, err = link.New(o)
	require.NoError(t, err)
	go func() { n.serve <- n.Serve(l) }()
	t.Cleanup(n.stop)
	return n
}

// stop closes the node as a process that dies: its peers are not told.
func (n *node) stop() { n.Close() }

// open opens a channel to another node, whose receiver consumes what arrives.
func (n *node) open(to *node, greeting string) *recorder {
	r := newRecorder(true)
	ch, err := n.Open(to.self, []byte(greeting), 0, r)
	require.NoError(n.t, err)
	r.Channel = ch
	return r
}

// recorder is a Receiver that keeps what it is told.
type recorder struct {
	*link.Channel
	from     link.Peer
	greeting string
	consumes bool

	mu       sync.Mutex
	changed  chan struct{}
	messages []string
	seqs     []uint64
	ended    *string
	writable int
	count    int // for receivers that keep nothing else
	closed   bool
	err      error
}

func newRecorder(consumes bool) *recorder {
	return &recorder{consumes: consumes, changed: make(chan struct{})}
}

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		panic("a call after Closed")
	}
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) Message(seq uint64, p []byte) bool {
	r.note(func() {
		r.messages = append(r.messages, string(p))
		r.seqs = append(r.seqs, seq)
	})
	return r.consumes
}

func (r *recorder) Ended(reason []byte) {
	r.note(func() { s := string(reason); r.ended = &s })
}

func (r *recorder) Writable() { r.note(func() { r.writable++ }) }

func (r *recorder) Closed(err error) { r.note(func() { r.closed, r.err = true, err }) }

// wait waits until what it records fulfils the condition.
func (r *recorder) wait(condition func() bool) {
	for {
		r.mu.Lock()
		ok, changed := condition(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		<-changed
	}
}

// received waits for n messages and returns them.
func (r *recorder) received(n int) []string {
	r.wait(func() bool { return len(r.messages) >= n })
	return r.messages
}

// failure waits for the end and returns its error.
func (r *recorder) failure() error {
	r.wait(func() bool { return r.closed })
	return r.err
}

// numbered returns n different messages.
func numbered(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("message %d", i))
	}
	return all
}

// send sends messages.
func (r *recorder) send(t *testing.T, all []string) {
	for _, m := range all {
		_, err := r.Send(context.Background(), []byte(m))
		require.NoError(t, err)
	}
}
