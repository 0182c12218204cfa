//go:build linux

package load

import (
	"io"
	"net"
	"testing"
	"time"
)

// A server that answers once and then not until the channel is closed must not hold up a probe. The answer that is outstanding at the
// end of the first probe counts there, and again in the second one, in which it comes.
func TestProbeEndsWhileAnAnswerIsOutstanding(t *testing.T) {
	const size = 32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	again := make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := io.CopyN(c, c, size+6); err == nil { // a frame with its header and its masking key
			<-again
			_, _ = io.Copy(c, c)
		}
	}()
	conns, err := Open(Target{Addr: l.Addr().String(), Raw: true}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer conns.Close()
	e, err := NewEngine(conns, Echo(true, size, 1), false)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const period, length = time.Millisecond, 100 * time.Millisecond
	r, err := e.Probe(period, length)
	if err != nil || r.Messages > 1 || r.Latency.total != r.Messages+1 {
		t.Errorf("%d answers, %d latencies, %v", r.Messages, r.Latency.total, err)
	}
	close(again)
	for r.Messages = 0; r.Messages == 0 && err == nil; {
		r, err = e.Probe(period, length)
	}
	if err != nil || r.Latency.Quantile(1) < length/2 {
		t.Errorf("slowest %v, %v", r.Latency.Quantile(1), err)
	}
}
