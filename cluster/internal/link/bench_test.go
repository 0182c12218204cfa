package link_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/edgews/edgews/cluster/internal/link"
)

// counting is a Receiver that counts messages, and says when there are enough.
type counting struct {
	n, want int
	enough  chan struct{}
	reply   *link.Channel // sends each message back
}

func (c *counting) Message(_ uint64, p []byte) bool {
	if c.reply != nil {
		c.reply.TrySend(p)
	}
	if c.n++; c.n == c.want {
		c.enough <- struct{}{}
	}
	return true
}

func (c *counting) Ended([]byte) {}
func (c *counting) Writable()    {}
func (c *counting) Closed(error) {}

// benchWays are the ways that are measured: certificates cost nothing after the handshake.
var benchWays = []struct {
	name string
	way  func(*link.Options)
}{
	{"plain", nil},
	{"secret", func(o *link.Options) { o.Secret = testSecret }},
}

// benchNodes returns two nodes on loopback, of which the second accepts channels with the receiver that accept returns.
func benchNodes(b *testing.B, way func(*link.Options), accept func(ch *link.Channel) link.Receiver) (*link.Manager, link.Peer) {
	from := startTCPNode(b, "a", way)
	to := startTCPNode(b, "b", func(o *link.Options) {
		if way != nil {
			way(o)
		}
		o.Accept = func(_ link.Peer, ch *link.Channel, _ []byte) link.Receiver { return accept(ch) }
	})
	return from.Manager, to.self
}

// BenchmarkOneWay sends messages of 200 bytes on 16 channels.
func BenchmarkOneWay(b *testing.B) {
	const channels = 16
	for _, way := range benchWays {
		b.Run(way.name, func(b *testing.B) {
			each := b.N/channels + 1
			enough := make(chan struct{}, channels)
			m, to := benchNodes(b, way.way, func(*link.Channel) link.Receiver { return &counting{want: each, enough: enough} })
			p := make([]byte, 200)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			b.ResetTimer()
			for range channels {
				ch, err := m.Open(to, nil, 0, &counting{})
				if err != nil {
					b.Fatal(err)
				}
				go func() {
					for range each {
						if _, err := ch.Send(context.Background(), p); err != nil {
							b.Error(err)
							return
						}
					}
				}()
			}
			for range channels {
				<-enough
			}
			b.ReportMetric(float64(each*channels)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkTCPOneWay is what BenchmarkOneWay can be compared with: frames of the same size over a bare connection with large buffers at both
// ends, without channels, windows, acknowledgements or goroutines that share it.
func BenchmarkTCPOneWay(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			r := bufio.NewReaderSize(c, 64<<10)
			for p := make([]byte, 228); err == nil; {
				_, err = io.ReadFull(r, p)
			}
		}
		done <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(c, 64<<10)
	p := make([]byte, 228)
	b.SetBytes(200)
	for b.Loop() {
		if _, err := w.Write(p); err != nil {
			b.Fatal(err)
		}
	}
	w.Flush()
	c.Close()
	if err := <-done; err != io.EOF {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkRoundTrip sends a message of 200 bytes and waits until it comes back.
func BenchmarkRoundTrip(b *testing.B) {
	for _, way := range benchWays {
		b.Run(way.name, func(b *testing.B) {
			m, to := benchNodes(b, way.way, func(ch *link.Channel) link.Receiver { return &counting{reply: ch} })
			back := make(chan struct{}, 1)
			ch, err := m.Open(to, nil, 0, &pinging{back})
			if err != nil {
				b.Fatal(err)
			}
			p := make([]byte, 200)
			took := make([]time.Duration, 0, b.N)
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				if _, err := ch.TrySend(p); err != nil {
					b.Fatal(err)
				}
				<-back
				took = append(took, time.Since(start))
			}
			reportTimes(b, took)
		})
	}
}

// BenchmarkTCPRoundTrip is what BenchmarkRoundTrip can be compared with: the same over a bare connection, without a queue, where each
// write is a system call.
func BenchmarkTCPRoundTrip(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // not spliced
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	back := make(chan struct{}, 1)
	p := make([]byte, 228)
	go func() {
		for p := make([]byte, 228); ; back <- struct{}{} {
			if _, err := io.ReadFull(c, p); err != nil {
				return
			}
		}
	}()
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		start := time.Now()
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		<-back
		took = append(took, time.Since(start))
	}
	reportTimes(b, took)
}

// reportTimes reports the median and the 99th percentile.
func reportTimes(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "ns-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "ns-p99")
}

type pinging struct{ back chan struct{} }

func (p *pinging) Message(uint64, []byte) bool { p.back <- struct{}{}; return true }
func (p *pinging) Ended([]byte)                {}
func (p *pinging) Writable()                   {}
func (p *pinging) Closed(error)                {}
