//go:build linux

package load

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Flood configures a process that keeps a server busy while another process measures the latency of a quiet connection.
type Flood struct {
	Target  Target
	Conns   int
	Content Content
}

// Content says what a flood consists of.
type Content string

// What a flood can consist of. All messages are binary. Those of Answered are sent one at a time on each connection: the next one
// follows the answer to the last. The others are sent as fast as the kernel takes them, and are not answered.
const (
	Small      Content = "small"      // messages of 128 bytes
	Fragments  Content = "fragments"  // messages of 100 frames with one byte each
	Compressed Content = "compressed" // JSON documents of 1 KiB, each compressed on its own
	Bombs      Content = "bombs"      // 1 MiB of zeros, compressed to about a thousandth
	Answered   Content = "answered"   // messages of 128 bytes, one at a time
)

// Args returns the flags that ParseFlood reads.
func (f Flood) Args() []string {
	return []string{
		"-addr=" + f.Target.Addr,
		"-offer=" + f.Target.Offer,
		"-conns=" + strconv.Itoa(f.Conns),
		"-content=" + string(f.Content),
	}
}

// ParseFlood reads flags that Args made.
func ParseFlood(args []string) (Flood, error) {
	var f Flood
	s := flag.NewFlagSet("flood", flag.ContinueOnError)
	s.StringVar(&f.Target.Addr, "addr", "", "address of the server")
	s.StringVar(&f.Target.Offer, "offer", "", "extensions to offer")
	s.IntVar(&f.Conns, "conns", 0, "number of connections")
	s.StringVar((*string)(&f.Content), "content", string(Small), "what to send: small, fragments, compressed, bombs or answered")
	return f, s.Parse(args)
}

// FloodMain runs that process. It prints "ready" when all connections are open, floods the server, and exits at the end of its standard
// input. It returns an error if a connection fails before.
func FloodMain(args []string) error {
	f, err := ParseFlood(args)
	if err != nil {
		return err
	}
	conns, err := Open(f.Target, f.Conns)
	if err != nil {
		return err
	}
	run, err := f.runner(conns)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	ended := make(chan error, 2)
	go func() {
		_, err := bufio.NewReader(os.Stdin).ReadByte()
		ended <- err
	}()
	go func() { ended <- cmp.Or(run(), errClosed) }()
	if err := <-ended; err != io.EOF {
		return err
	}
	return nil
}

// runner returns a function that floods until a connection fails.
func (f Flood) runner(c *Conns) (func() error, error) {
	if f.Content == Answered {
		e, err := NewEngine(c, Echo(false, 128, 1), false)
		return func() error {
			_, err := e.Echo(24 * time.Hour) // longer than any flood
			return err
		}, err
	}
	p, err := f.Content.bytes(c.Extensions)
	if err != nil {
		return nil, err
	}
	w, err := newFlooder(c, p)
	return w.run, err
}

// floodSize is about how many bytes are sent in one system call.
const floodSize = 64 << 10

// bytes returns whole messages, which can be sent again and again.
func (c Content) bytes(extensions string) ([]byte, error) {
	var b Batch
	switch c {
	case Small:
		return Echo(false, 128, floodSize/128).Batches[0].send, nil
	case Fragments:
		for len(b.send) < floodSize {
			b.fragments(100)
		}
	case Compressed:
		s, err := ScriptFor(extensions, false)
		if err != nil {
			return nil, err
		}
		for i := range s.Batches {
			s.Batches[i].send[0] = finBit | rsv1Bit | binary2
			b.send = append(b.send, s.Batches[i].send...)
		}
	case Bombs:
		p, err := bomb(1 << 20)
		if err != nil {
			return nil, err
		}
		for len(b.send) < floodSize {
			b.frame(binary2, p, 0x9e3779b9, true)
		}
	default:
		return nil, fmt.Errorf("no flood consists of %q", c)
	}
	return b.send, nil
}

// fragments appends a message of n frames with one byte each.
func (b *Batch) fragments(n int) {
	for i := range n {
		at := len(b.send)
		b.frame(binary2, []byte{byte(i)}, uint32(i), false)
		if i > 0 {
			b.send[at] &^= binary2 // a continuation
		}
		if i < n-1 {
			b.send[at] &^= finBit
		}
	}
}

// bomb returns n zeros, compressed as the payload of one message. The distance of its matches is 1, so it fits into any window.
func bomb(n int) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(make([]byte, n)); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), tail), nil
}

// flooder writes the same bytes on its connections again and again, and drops what the server sends.
type flooder struct {
	poll   *poller
	fds    []int
	bytes  []byte
	unsent [][]byte // what is left of the bytes on each connection
	buf    []byte
}

func newFlooder(c *Conns, p []byte) (*flooder, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	f := &flooder{poll: poll, fds: c.fds, bytes: p, unsent: make([][]byte, len(c.fds)), buf: make([]byte, floodSize)}
	for i, fd := range c.fds {
		if err := poll.add(fd, i, unix.EPOLLIN|unix.EPOLLOUT); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// run returns when a connection fails.
func (f *flooder) run() error {
	for {
		events, err := f.poll.wait(noTimeout)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if err := f.handle(int(ev.Fd), ev.Events); err != nil {
				return err
			}
		}
	}
}

func (f *flooder) handle(i int, events uint32) error {
	if events&^unix.EPOLLOUT != 0 {
		n, err := unix.Read(f.fds[i], f.buf)
		switch {
		case err == nil && n == 0:
			return errClosed
		case err != nil && err != unix.EAGAIN:
			return fmt.Errorf("read: %w", err)
		}
	}
	if events&unix.EPOLLOUT == 0 {
		return nil
	}
	if len(f.unsent[i]) == 0 {
		f.unsent[i] = f.bytes
	}
	n, err := unix.Write(f.fds[i], f.unsent[i])
	if err != nil && err != unix.EAGAIN {
		return fmt.Errorf("write: %w", err)
	}
	f.unsent[i] = f.unsent[i][max(n, 0):]
	return nil
}
