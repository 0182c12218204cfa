package edgewsnats_test

import (
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faultyDialer dials connections that can be cut, or made to take no more bytes, as those to a server that is stopped.
type faultyDialer struct {
	mu    sync.Mutex
	conns []*stuckConn
}

func (d *faultyDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	c := &stuckConn{Conn: conn, stuck: make(chan struct{}), closed: make(chan struct{})}
	d.mu.Lock()
	d.conns = append(d.conns, c)
	d.mu.Unlock()
	return c, nil
}

// stick has the connections that there are take no more bytes.
func (d *faultyDialer) stick() {
	for _, c := range d.take() {
		close(c.stuck)
	}
}

// cut closes the connections that there are.
func (d *faultyDialer) cut() {
	for _, c := range d.take() {
		c.Close()
	}
}

// take returns the connections that there are, and forgets them.
func (d *faultyDialer) take() []*stuckConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	conns := d.conns
	d.conns = nil
	return conns
}

type stuckConn struct {
	net.Conn
	stuck, closed chan struct{}
	closing       sync.Once

	mu       sync.Mutex
	deadline time.Time // of writes; zero: none
}

func (c *stuckConn) Write(p []byte) (int, error) {
	select {
	case <-c.stuck:
	default:
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	var expired <-chan time.Time
	if !deadline.IsZero() {
		expired = time.After(time.Until(deadline))
	}
	select {
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *stuckConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return nil
}

func (c *stuckConn) SetDeadline(t time.Time) error {
	_ = c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

func (c *stuckConn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A connection that takes no more bytes is given up: what is called meanwhile goes over another one, and each commit is made once.
func TestConnectionThatTakesNothing(t *testing.T) {
	conns := new(faultyDialer)
	o := options(t, sharedURLs(t))
	o.NATS = []nats.Option{nats.SetCustomDialer(conns)}
	a := connect(t, o)
	defer a.Close()
	_, err := a.Setup(t.Context(), config)
	require.NoError(t, err)
	s := open(t, a, objectKey(t, 1), 1)
	for i := range 4 {
		conns.stick()
		ended := make(chan error, 1)
		go func() { ended <- count(s, i) }()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(30 * time.Second):
			require.FailNow(t, "the commit hangs")
		}
	}
	assert.Equal(t, 4, counted(t, open(t, a, objectKey(t, 1), 2)))
}
