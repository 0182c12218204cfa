package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews"
)

// The figures of the data path. All nodes and clients are in one process on loopback, and storage is the memory engine, which takes no time:
//
//	go test -run '^$' -bench Figure -benchtime 20000x .
//	go test -run '^$' -bench FigureBroadcast -benchtime 20x .
//	go test -run TestMemoryOfARemoteSocket -v .
//	go test -run '^$' -bench 'Claims|Handovers' -benchtime 20x .

// echoer is an object that answers each message with the same, or counts it.
type echoer struct {
	st    *edgews.State
	count *atomic.Int64
}

func (o *echoer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s, err := edgews.Upgrade(w, r, nil); err == nil {
		_ = o.st.AcceptWebSocket(s)
	}
}

func (o *echoer) WebSocketMessage(_ context.Context, s *edgews.Socket, m edgews.Message) error {
	if m.Kind == edgews.Binary {
		o.count.Add(1)
		return nil
	}
	return s.Send(m.Text())
}

// startEchoers starts three nodes with one echoer.
func startEchoers(b *testing.B) (f *fan, count *atomic.Int64) {
	count = new(atomic.Int64)
	f = &fan{t: b}
	f.construct = func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &echoer{st, count}, nil }
	f.startSites()
	return f, count
}

// startBare starts a server whose sockets have listeners and no object.
func startBare(b *testing.B) (url string) {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, nil); err == nil {
			s.OnMessage(func(m edgews.MessageEvent) { _ = s.Send(m.Text()) })
			_ = s.Accept()
		}
	})}
	go server.Serve(web)
	b.Cleanup(func() { server.Close() })
	return "ws://" + web.Addr().String()
}

// startLone starts a server with objects and without a cluster.
func startLone(b *testing.B, construct newObject) *edgews.Namespace {
	n := edgews.NewNamespace(fmt.Sprint("lone", time.Now().UnixNano()), construct, &edgews.NamespaceOptions{
		Options: edgews.Options{Logger: slog.New(slog.DiscardHandler)},
	})
	b.Cleanup(func() { n.Shutdown(context.Background()) })
	return n
}

// BenchmarkFigureRoundTrip measures the round trip of a message of 200 bytes: by an object at another node, by one at the node of the client, by
// one without a cluster, and without an object.
func BenchmarkFigureRoundTrip(b *testing.B) {
	f, count := startEchoers(b)
	lone := startLone(b, func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &echoer{st, count}, nil })
	loneWeb, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := &http.Server{Handler: lone.ByName("crier")}
	go server.Serve(loneWeb)
	b.Cleanup(func() { server.Close() })
	text := string(bytes.Repeat([]byte("r"), 200))
	for _, where := range []struct{ name, url string }{
		{"remote object", f.edges[0].url}, {"object at home", f.home.url}, {"object without a cluster", "ws://" + loneWeb.Addr().String()},
		{"bare socket", startBare(b)},
	} {
		b.Run(where.name, func(b *testing.B) {
			c, _, err := edgews.Dial(b.Context(), where.url, nil)
			require.NoError(b, err)
			defer c.Close(1000, "")
			times := make([]time.Duration, 0, b.N)
			for b.Loop() {
				start := time.Now()
				if err := c.Write(b.Context(), edgews.Text, []byte(text)); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Receive(b.Context()); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2])/1000, "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100])/1000, "p99-µs")
		})
	}
}

// BenchmarkFigureFramesToHome measures how many messages of 200 bytes go from clients over their edge to an object, which counts them.
func BenchmarkFigureFramesToHome(b *testing.B) {
	const clients = 64
	f, count := startEchoers(b)
	for _, where := range []struct {
		name string
		at   *site
	}{{"remote object", f.edges[0]}, {"object at home", f.home}} {
		b.Run(where.name, func(b *testing.B) {
			conns := upgradeRaw(b, where.at.url[5:], clients)
			each := b.N/clients + 1
			message := append([]byte{0x82, 0x80 | 126, 0, 200, 0, 0, 0, 0}, make([]byte, 200)...) // masked with zeros
			few := bytes.Repeat(message, 50)
			before := count.Load()
			b.ResetTimer()
			start := time.Now()
			var wg sync.WaitGroup
			for _, conn := range conns {
				wg.Go(func() {
					for left := each; left > 0; {
						n := min(left, 50)
						if _, err := conn.Write(few[:n*len(message)]); err != nil {
							b.Error(err)
							return
						}
						left -= n
					}
				})
			}
			wg.Wait()
			for count.Load()-before < int64(each*clients) {
				time.Sleep(100 * time.Microsecond) // the end of a measurement, not a synchronisation
			}
			b.ReportMetric(float64(each*clients)/time.Since(start).Seconds(), "frames/s")
			for _, conn := range conns {
				conn.Close()
			}
		})
	}
}

// BenchmarkFigureBroadcast measures a broadcast of 1 KiB to 10 000 sockets: at three nodes, two thirds of them away from the object; and at one node
// without a cluster. The clients are in memory, and count what is written to them.
func BenchmarkFigureBroadcast(b *testing.B) {
	const sockets, size = 10_000, 1024
	log := &sentLog{of: make(map[string][]string)}
	construct := func(_ context.Context, st *edgews.State) (edgews.Object, error) { return &crier{st, log}, nil }
	measure := func(b *testing.B, servers []http.Handler, call func(method string, what order) int) {
		arrived := &tallyOfBytes{reached: make(chan struct{}, 1)}
		for i, handler := range servers {
			serveMemory(b, handler, arrived, sockets/len(servers)+min(1, max(0, sockets%len(servers)-i)))
		}
		for call("many", order{}) != sockets {
		}
		cpu := cpuTime()
		for b.Loop() {
			arrived.expect(sockets * (size + 4))
			call("many", order{Many: 1, Size: size})
			<-arrived.reached
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/broadcast")
		b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N)/sockets, "cpu-ns/recipient")
	}
	b.Run("three nodes", func(b *testing.B) {
		f := &fan{t: b, construct: construct}
		f.startSites()
		var servers []http.Handler
		for _, s := range f.sites {
			servers = append(servers, s.server.Handler)
		}
		got := func() (n int64) {
			for _, e := range f.edges {
				n += f.counter(e.Self().ID, f.home.Self().Addr).Load()
			}
			return n
		}
		before, broadcasts := int64(0), 0
		measure(b, servers, func(method string, what order) int {
			if what.Many > 0 && broadcasts == 0 {
				before = got()
			}
			broadcasts += what.Many
			n, err := edgews.Call[order, int](b.Context(), f.home.rooms.ByName("crier"), method, what)
			require.NoError(b, err)
			return n
		})
		b.ReportMetric(float64(got()-before)/float64(broadcasts), "link-bytes/broadcast")
	})
	b.Run("one node without a cluster", func(b *testing.B) {
		lone := startLone(b, construct)
		measure(b, []http.Handler{lone.ByName("crier")}, func(method string, what order) int {
			n, err := edgews.Call[order, int](b.Context(), lone.ByName("crier"), method, what)
			require.NoError(b, err)
			return n
		})
	})
}

// tallyOfBytes counts the bytes that have been written to clients.
type tallyOfBytes struct {
	left    atomic.Int64
	reached chan struct{}
}

func (t *tallyOfBytes) expect(bytes int64) { t.left.Store(bytes) }

func (t *tallyOfBytes) add(n int) {
	if t.left.Add(-int64(n)) == 0 {
		t.reached <- struct{}{}
	}
}

// serveMemory opens n sockets whose clients are in memory.
func serveMemory(b *testing.B, handler http.Handler, arrived *tallyOfBytes, n int) {
	l := &memoryClients{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: handler}
	go server.Serve(l)
	b.Cleanup(func() { server.Close() })
	var all []*memoryClient
	for i := range n {
		c := &memoryClient{arrived: arrived, closed: make(chan struct{}), opened: make(chan struct{}), expired: make(chan struct{})}
		c.request = fmt.Appendf(nil, "GET /?user=%d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", i)
		l.conns <- c
		all = append(all, c)
	}
	for _, c := range all {
		<-c.opened
	}
	b.Cleanup(func() {
		for _, c := range all {
			c.Close()
		}
	})
}

type memoryClients struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *memoryClients) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memoryClients) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *memoryClients) Addr() net.Addr { return &net.TCPAddr{} }

// memoryClient is the server's end of a connection whose client asks for a socket, and counts the bytes of messages.
type memoryClient struct {
	request []byte // what the client still sends
	arrived *tallyOfBytes
	head    bytes.Buffer  // of the response
	opened  chan struct{} // closed when it has come
	isOpen  bool
	once    sync.Once
	closed  chan struct{}

	mu      sync.Mutex
	expired chan struct{} // closed when the deadline of reading is over, which net/http sets to take the connection back from its reader
}

func (c *memoryClient) Read(p []byte) (int, error) {
	if len(c.request) > 0 {
		n := copy(p, c.request)
		c.request = c.request[n:]
		return n, nil
	}
	c.mu.Lock()
	expired := c.expired
	c.mu.Unlock()
	select {
	case <-c.closed:
		return 0, io.EOF
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	}
}

func (c *memoryClient) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.expired:
		c.expired = make(chan struct{})
	default:
	}
	if !t.IsZero() && time.Until(t) <= 0 {
		close(c.expired)
	}
	return nil
}

func (c *memoryClient) Write(p []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, errors.New("closed")
	default:
	}
	if c.isOpen {
		c.arrived.add(len(p))
		return len(p), nil
	}
	c.head.Write(p)
	if bytes.HasSuffix(c.head.Bytes(), []byte("\r\n\r\n")) {
		c.isOpen = true
		if resp, err := http.ReadResponse(bufio.NewReader(&c.head), nil); err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
			close(c.opened)
		}
	}
	return len(p), nil
}

func (c *memoryClient) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *memoryClient) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *memoryClient) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *memoryClient) SetDeadline(time.Time) error      { return nil }
func (c *memoryClient) SetWriteDeadline(time.Time) error { return nil }
