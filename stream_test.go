package edgews_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// uncompressed are the options for tests that read a message while it arrives, which compression prevents.
var uncompressed = edgews.Options{Compression: &edgews.Compression{Disable: true}}

func TestNextReaderReadsWhatArrives(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		big := strings.Repeat("0123456789", 20_000)
		go p.writesAll(p.encode(part(text(big), false), continuation(big, false), continuation("end", true), binaryOf(""), text("next")))
		kind, r, err := s.NextReader(within(t))
		require.NoError(t, err)
		assert.Equal(t, edgews.Text, kind)
		all, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.True(t, big+big+"end" == string(all))
		kind, r, err = s.NextReader(within(t))
		require.NoError(t, err)
		assert.Equal(t, edgews.Binary, kind)
		n, err := r.Read(make([]byte, 10))
		assert.Zero(t, n)
		assert.Equal(t, io.EOF, err)
		m, err := s.Receive(within(t))
		require.NoError(t, err)
		assert.Equal(t, "next", m.Text())
	})
}

func TestReaderOfTheFirstPieceBeforeTheLast(t *testing.T) {
	both(t, uncompressed, func(t *testing.T, a, b *edgews.Socket) {
		w, err := a.NextWriter(within(t), edgews.Binary)
		require.NoError(t, err)
		piece := bytes.Repeat([]byte("x"), 70_000) // larger than inboxLimit, so that a wire delivers it before the message is complete
		for range 2 {
			_, err = w.Write(piece)
			require.NoError(t, err)
		}
		_, r, err := b.NextReader(within(t))
		require.NoError(t, err)
		got := make([]byte, 70_000)
		_, err = io.ReadFull(r, got)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.NoError(t, w.Close())
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.Len(t, rest, 70_000)
		_, err = w.Write(piece)
		assert.ErrorIs(t, err, edgews.ErrClosed)
	})
}

func TestAbandonedReader(t *testing.T) {
	both(t, edgews.Options{SendBuffer: 1 << 20}, func(t *testing.T, a, b *edgews.Socket) {
		go func() {
			w, err := a.NextWriter(t.Context(), edgews.Binary)
			if !assert.NoError(t, err) {
				return
			}
			for range 30 {
				w.Write(bytes.Repeat([]byte("x"), 100_000))
			}
			assert.NoError(t, w.Close())
			assert.NoError(t, a.Send("next"))
		}()
		_, r, err := b.NextReader(within(t))
		require.NoError(t, err)
		_, err = io.ReadFull(r, make([]byte, 10))
		require.NoError(t, err)
		m, err := b.Receive(within(t))
		require.NoError(t, err)
		assert.Equal(t, "next", m.Text())
	})
}

func TestStaleReader(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		require.NoError(t, a.Send("secret of the first"))
		require.NoError(t, a.Send("second"))
		_, r, err := b.NextReader(within(t))
		require.NoError(t, err)
		_, err = r.Read(make([]byte, 6))
		require.NoError(t, err)
		_, err = b.Receive(within(t))
		require.NoError(t, err)
		n, err := r.Read(make([]byte, 100))
		assert.Zero(t, n)
		assert.ErrorContains(t, err, "after another receive")
	})
}

func TestCancelledReader(t *testing.T) {
	both(t, uncompressed, func(t *testing.T, a, b *edgews.Socket) {
		w, err := a.NextWriter(within(t), edgews.Binary)
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 100_000))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(within(t))
		_, r, err := b.NextReader(ctx)
		require.NoError(t, err)
		go func() {
			if _, err := b.Ping(t.Context()); err == nil {
				cancel()
			}
		}()
		_, err = io.Copy(io.Discard, r)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, w.Close())
		require.NoError(t, a.Send("goes on"))
		m, err := b.Receive(within(t))
		require.NoError(t, err)
		assert.Equal(t, "goes on", m.Text())
	})
}

func TestReaderWhenTheConnectionIsLost(t *testing.T) {
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		go func() {
			p.writesAll(p.encode(part(binaryOf(strings.Repeat("x", 100_000)), false)))
			p.hangsUp()
		}()
		_, r, err := s.NextReader(within(t))
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, r)
		assert.LessOrEqual(t, n, int64(100_000))
		var end *edgews.CloseError
		require.ErrorAs(t, err, &end)
		assert.EqualValues(t, 1006, end.Code)
	})
}

// A message of 100 MiB needs at most 24 MiB of memory in both sockets together.
func TestStreamingNeedsLittleMemory(t *testing.T) {
	const size, most = 100 << 20, 24 << 20
	opts := edgews.Options{MaxMessageSize: size, Compression: &edgews.Compression{Disable: true}}
	a, b := overTCP.connect(t, opts)
	go func() {
		w, err := a.NextWriter(t.Context(), edgews.Binary)
		if !assert.NoError(t, err) {
			return
		}
		chunk := make([]byte, 1<<20)
		for range size / len(chunk) {
			if _, err := w.Write(chunk); !assert.NoError(t, err) {
				return
			}
		}
		assert.NoError(t, w.Close())
	}()
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	_, r, err := b.NextReader(within(t))
	require.NoError(t, err)
	read, worst := 0, uint64(0)
	for p := make([]byte, 1<<20); ; {
		n, err := r.Read(p)
		read += n
		if read/(10<<20) != (read-n)/(10<<20) {
			runtime.GC()
			runtime.ReadMemStats(&now)
			worst = max(worst, now.HeapAlloc)
		}
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	assert.Equal(t, size, read)
	assert.Less(t, worst, before.HeapAlloc+most)
}

func TestLargeMessageThroughAPair(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, style := range []string{"listener", "receive"} {
			a, b := edgews.NewPair()
			require.NoError(t, a.Accept())
			sizes := make(chan int, 1)
			if style == "listener" {
				b.OnMessage(func(e edgews.MessageEvent) { sizes <- len(e.Data) })
				require.NoError(t, b.Accept())
			} else {
				go func() {
					m, err := b.Receive(t.Context())
					assert.NoError(t, err)
					sizes <- len(m.Data)
				}()
			}
			w, err := a.NextWriter(t.Context(), edgews.Binary)
			require.NoError(t, err)
			for range 50 {
				_, err := w.Write(make([]byte, 100_000))
				require.NoError(t, err)
			}
			require.NoError(t, w.Close())
			assert.Equal(t, 5_000_000, <-sizes, style)
		}
	})
}

// The cost of a piece does not depend on the number of pieces before it. Otherwise this test would take minutes.
func TestByteByByteThroughAPair(t *testing.T) {
	const n = 200_000
	bubble(t, func(t *testing.T) {
		for _, style := range []string{"listener", "receive"} {
			a, b := edgews.NewPair()
			require.NoError(t, a.Accept())
			sizes := make(chan int, 1)
			if style == "listener" {
				b.OnMessage(func(e edgews.MessageEvent) { sizes <- len(e.Data) })
				require.NoError(t, b.Accept())
			} else {
				go func() {
					m, err := b.Receive(t.Context())
					assert.NoError(t, err)
					sizes <- len(m.Data)
				}()
			}
			w, err := a.NextWriter(t.Context(), edgews.Binary)
			require.NoError(t, err)
			for range n {
				_, err := w.Write([]byte{1})
				require.NoError(t, err)
			}
			require.NoError(t, w.Close())
			assert.Equal(t, n, <-sizes, style)
			require.NoError(t, a.Flush(t.Context()))
		}
	})
}

func TestLargeMessageWithoutListener(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("no listener"))
		_, err := a.Ping(within(t))
		require.NoError(t, err)
		eventually(t, func() bool { return a.BufferedAmount() == 0 }, "the message without listener is taken")
		w, err := a.NextWriter(within(t), edgews.Binary)
		require.NoError(t, err)
		for range 30 {
			_, err := w.Write(make([]byte, 100_000))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		require.NoError(t, a.Close(1000, ""))
		waitDone(t, a)
		waitDone(t, b)
	})
}

func TestTextMayBeSplitAnywhere(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		require.NoError(t, b.Accept())
		w, err := a.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		for _, c := range []byte("a€𝄞") {
			_, err := w.Write([]byte{c})
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		events.wants(message("a€𝄞"))
	})
}

func TestWriterChecksItsText(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		require.NoError(t, b.Accept())
		w, err := a.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		_, err = w.Write([]byte("\xe2\x82"))
		require.NoError(t, err)
		_, err = w.Write([]byte("x"))
		require.ErrorIs(t, err, edgews.ErrInvalidUTF8)
		require.ErrorIs(t, w.Close(), edgews.ErrInvalidUTF8)
		events.wantsEnd(closed(1007, "text ends in the middle of a character", true))
	})
}

func TestCancelledWriteOfTextDoesNotCount(t *testing.T) {
	withUnreadMessage(t, edgews.Options{SendBuffer: 100, WriteTimeout: -1, KeepAlive: -1}, 50, func(t *testing.T, s *edgews.Socket, p *peer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w, err := s.NextWriter(ctx, edgews.Text)
		require.NoError(t, err)
		n, err := io.WriteString(w, "sent")
		require.NoError(t, err)
		require.Equal(t, 4, n)
		n, err = io.WriteString(w, strings.Repeat("x", 80)+"half of \xe2\x82")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, n)
		require.NoError(t, w.Close())
		require.Len(t, p.next().payload, 50)
		p.expects(part(text("sent"), false), continuation("", true))
		p.hangsUp()
	})
}

func TestMessagesAfterAWriterKeepTheirOrder(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		acceptBoth(t, a, b)
		require.NoError(t, a.Send("before"))
		w, err := a.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		io.WriteString(w, "in ")
		require.NoError(t, a.Send("queued 1"))
		require.NoError(t, a.SendBytes([]byte("queued 2")))
		require.NoError(t, a.SendPrepared(edgews.Prepare(edgews.Text, []byte("queued 3"))))
		written := make(chan error, 2)
		go func() { written <- a.Write(t.Context(), edgews.Text, []byte("waits")) }()
		go func() {
			_, err := a.NextWriter(t.Context(), edgews.Text)
			written <- err
		}()
		io.WriteString(w, "pieces")
		require.NoError(t, w.Close())
		events.wants(message("before"), message("in pieces"), message("queued 1"), bytesMessage("queued 2"), message("queued 3"))
		require.NoError(t, <-written)
	})
}

// Messages that wait for the end of a NextWriter's take no room from it: it could never end otherwise.
func TestWriterGoesOnBeforeAFullQueue(t *testing.T) {
	both(t, edgews.Options{SendBuffer: 10_000}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		acceptBoth(t, a, b)
		w, err := a.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		queued := 0
		for a.SendBytes(make([]byte, 500)) == nil {
			queued++
		}
		for range 5 {
			_, err = io.WriteString(w, strings.Repeat("x", 20_000))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		events.wants("text of 100000 bytes")
		for range queued {
			events.wants("binary of 500 bytes")
		}
		require.NoError(t, flushFor(t, a, patience))
	})
}

func TestWriteWaitsForAWriter(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, b.Accept())
		w, err := a.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		assert.ErrorIs(t, writeFor(a, time.Millisecond, nil), context.DeadlineExceeded)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = a.NextWriter(ctx, edgews.Text)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, w.Close())
		assert.NoError(t, a.Write(within(t), edgews.Text, nil))
		_, err = a.NextWriter(within(t), 9)
		assert.ErrorContains(t, err, "kind 9")
	})
}

func TestCloseInTheMiddleOfAWriter(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		events := record(t, b)
		require.NoError(t, b.Accept())
		w, err := a.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		io.WriteString(w, "never ")
		require.NoError(t, a.Close(1000, "changed my mind"))
		_, err = io.WriteString(w, "finished")
		assert.ErrorIs(t, err, edgews.ErrClosed)
		assert.ErrorIs(t, w.Close(), edgews.ErrClosed)
		events.wantsEnd(closed(1000, "changed my mind", true))
	})
}

func TestCompressedStream(t *testing.T) {
	overWires(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.Contains(t, a.Extensions(), "permessage-deflate")
		for _, s := range []*edgews.Socket{a, b} {
			other := map[bool]*edgews.Socket{true: b, false: a}[s == a]
			for range 3 {
				w, err := s.NextWriter(within(t), edgews.Text)
				require.NoError(t, err)
				for range 100 {
					io.WriteString(w, "the same thing over and over ")
				}
				require.NoError(t, w.Close())
				require.NoError(t, s.Send(strings.Repeat("the same thing ", 100)))
				m, err := other.Receive(within(t))
				require.NoError(t, err)
				assert.Equal(t, strings.Repeat("the same thing over and over ", 100), m.Text())
				_, err = other.Receive(within(t))
				require.NoError(t, err)
			}
		}
	})
}

func TestWaitersSeeTheEnd(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		_, err := a.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		waits := make(chan error, 2)
		go func() { waits <- a.Write(t.Context(), edgews.Text, nil) }()
		go func() {
			_, err := a.Receive(t.Context())
			waits <- err
		}()
		require.NoError(t, b.Accept())
		require.NoError(t, b.Close(1000, ""))
		for range 2 {
			err := <-waits
			var end *edgews.CloseError
			require.True(t, errors.Is(err, edgews.ErrClosed) || errors.As(err, &end), "%v", err)
		}
	})
}

// Threshold and Choose decide by the first fragment whether a message of NextWriter is compressed.
func TestFirstFragmentDecidesCompression(t *testing.T) {
	long := strings.Repeat("compress me ", 50)
	for _, tt := range []struct {
		name       string
		pieces     []string
		choose     func(edgews.Kind, []byte) bool
		compressed bool
	}{
		{"long", []string{long, "x"}, nil, true},
		{"short first", []string{"x", long}, nil, false},
		{"nothing", nil, nil, false},
		{"chosen", []string{long}, func(k edgews.Kind, p []byte) bool { return k == edgews.Text && string(p) == long }, true},
		{"not chosen", []string{long, "compressible"}, func(edgews.Kind, []byte) bool { return false }, false},
		{"a secret", []string{long + "secret"}, func(_ edgews.Kind, p []byte) bool { return !bytes.Contains(p, []byte("secret")) }, false},
		{"not asked below Threshold", []string{"short"}, func(edgews.Kind, []byte) bool { panic("asked") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, where := range []network{overPipe, overTCP} {
				where.run(t, func(t *testing.T, where network) {
					s, p := where.serverAndPeer(t, edgews.Options{Compression: &edgews.Compression{Choose: tt.choose}}, "permessage-deflate")
					for range 2 { // Choose decides for one message
						w, err := s.NextWriter(within(t), edgews.Text)
						require.NoError(t, err)
						for _, piece := range tt.pieces {
							io.WriteString(w, piece)
							expectFragment(t, p, tt.compressed, piece)
						}
						require.NoError(t, w.Close())
						f := p.next()
						assert.EqualValues(t, fin, f.bits&fin)
					}
				})
			}
		})
	}
}

// expectFragment checks the next frame, which is not the last of its message.
func expectFragment(t *testing.T, p *peer, compressed bool, piece string) {
	t.Helper()
	f := p.next()
	assert.Zero(t, f.bits&fin)
	if f.opcode == 1 {
		assert.Equal(t, compressed, f.bits&rsv1 != 0)
	}
	if !compressed {
		assert.Equal(t, piece, f.payload)
	}
}

// Compressed and uncompressed messages alternate: the compression windows of both ends must still agree.
func TestCompressedAndPlainWritersInTurn(t *testing.T) {
	choose := func(_ edgews.Kind, p []byte) bool { return p[0] != 'n' }
	overWires(t, edgews.Options{Compression: &edgews.Compression{Threshold: 1, Choose: choose}}, func(t *testing.T, a, b *edgews.Socket) {
		for _, s := range []*edgews.Socket{a, b} {
			other := map[bool]*edgews.Socket{true: b, false: a}[s == a]
			for _, first := range []string{"yes ", "no ", "yes ", "", "no ", "yes "} {
				w, err := s.NextWriter(within(t), edgews.Text)
				require.NoError(t, err)
				rest := strings.Repeat("the same over and over ", 20)
				for _, piece := range []string{first, rest, first} {
					_, err = io.WriteString(w, piece)
					require.NoError(t, err)
				}
				require.NoError(t, s.Send("queued"))
				require.NoError(t, w.Close())
				for _, want := range []string{first + rest + first, "queued"} {
					m, err := other.Receive(within(t))
					require.NoError(t, err)
					assert.Equal(t, want, m.Text())
				}
			}
		}
	})
}

func TestWriterDoesNotSplitCharacters(t *testing.T) {
	withPeer(t, uncompressed, func(t *testing.T, s *edgews.Socket, p *peer) {
		require.NoError(t, s.Accept())
		w, err := s.NextWriter(within(t), edgews.Text)
		require.NoError(t, err)
		writes := func(text string, frames ...aFrame) {
			t.Helper()
			n, err := io.WriteString(w, text)
			assert.NoError(t, err)
			assert.Equal(t, len(text), n)
			p.expects(frames...)
		}
		writes("\xe2")
		writes("\x82")
		writes("\xac", part(text("€"), false))
		writes("a\xf0\x9d", continuation("a", false))
		writes("\x84\x9eb€\xe2\x82", continuation("𝄞b€", false))
		writes("\xacc", continuation("€c", false))
		euros := strings.Repeat("€", 32<<10/3+1) // 32 KiB is in the middle of a character
		writes(euros, continuation(euros[:32<<10/3*3], false), continuation("€", false))
		require.NoError(t, w.Close())
		p.expects(continuation("", true))

		b, err := s.NextWriter(within(t), edgews.Binary)
		require.NoError(t, err)
		b.Write([]byte("\xe2\x82"))
		p.expects(part(binaryOf("\xe2\x82"), false))
		require.NoError(t, b.Close())
		p.expects(continuation("", true))
		p.hangsUp()
	})
}

// A Write that fails has sent nothing of its text. The bytes of a split character from an earlier Write are still unsent.
func TestCancelledWriteKeepsTheSplitCharacter(t *testing.T) {
	withUnreadMessage(t, edgews.Options{SendBuffer: 100, WriteTimeout: -1, KeepAlive: -1}, 50, func(t *testing.T, s *edgews.Socket, p *peer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w, err := s.NextWriter(ctx, edgews.Text)
		require.NoError(t, err)
		_, err = io.WriteString(w, "\xe2\x82")
		require.NoError(t, err)
		n, err := io.WriteString(w, "\xac"+strings.Repeat("x", 98))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, n)
		require.ErrorIs(t, w.Close(), edgews.ErrInvalidUTF8)
		require.Len(t, p.next().payload, 50)
		p.expectsClose(1007)
		p.hangsUp()
	})
}

// A reader whose context has ended returns ctx.Err(), even if data has arrived. A NetConn returns that data after a later deadline has
// been set.
func TestReaderWhoseContextHasEnded(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		buf := make([]byte, 10)
		conn := edgews.NetConn(b, edgews.Text)
		require.NoError(t, a.Accept())
		require.NoError(t, a.Send("hello"))
		_, err := io.ReadFull(conn, buf[:2])
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Unix(1, 0)))
		_, err = conn.Read(buf)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, conn.SetReadDeadline(time.Time{}))
		_, err = io.ReadFull(conn, buf[:3])
		require.NoError(t, err)
		assert.Equal(t, "llo", string(buf[:3]))

		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, a.Send("abandoned"))
		require.NoError(t, a.Send("next"))
		_, r, err := b.NextReader(ctx)
		require.NoError(t, err)
		_, err = io.ReadFull(r, buf[:2])
		require.NoError(t, err)
		cancel()
		_, err = r.Read(buf)
		assert.ErrorIs(t, err, context.Canceled)
		m, err := b.Receive(within(t))
		require.NoError(t, err)
		assert.Equal(t, "next", m.Text())
	})
}

// A reader that is used while another goroutine receives returns bytes of its own message or an error, and never bytes of another one.
func TestReaderWhileAnotherGoroutineReceives(t *testing.T) {
	overTCP.run(t, func(t *testing.T, where network) {
		a, b := where.connect(t, uncompressed)
		require.NoError(t, a.Accept())
		ctx := within(t)
		sent := strings.Repeat("a", 4<<10)
		var sending, reading sync.WaitGroup
		sending.Go(func() {
			for a.Write(ctx, edgews.Text, []byte(sent)) == nil {
			}
		})
		for until := time.Now().Add(300 * time.Millisecond); time.Now().Before(until); {
			_, r, err := b.NextReader(ctx)
			require.NoError(t, err)
			reading.Go(func() {
				p := make([]byte, len(sent))
				n, err := r.Read(p)
				assert.True(t, err != nil || string(p[:n]) == sent[:n], "other bytes")
			})
			runtime.Gosched()
		}
		reading.Wait()
		require.NoError(t, a.Close(1000, ""))
		sending.Wait()
		for range b.Messages(ctx) {
		}
	})
}
