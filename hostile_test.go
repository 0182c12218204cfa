package edgews_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests in this file check that a hostile peer gets an HTTP status or a close code, that it uses a bounded amount of memory, and that no
// goroutine is left. Most of them run in a bubble, which fails if a goroutine is left.

// brokenFrames says what the reasons and errors for edgewstest.Violations contain.
var brokenFrames = map[string]string{
	"wrong mask":                            "must mask",
	"RSV1 without compression":              "RSV bit 1",
	"RSV2":                                  "RSV bits 2 or 3",
	"RSV3":                                  "RSV bits 2 or 3",
	"opcode 3":                              "opcode 3",
	"opcode 7":                              "opcode 7",
	"opcode 11":                             "opcode 11",
	"opcode 15":                             "opcode 15",
	"16 bits for 1":                         "fewest bytes",
	"16 bits for 125":                       "fewest bytes",
	"64 bits for 65535":                     "fewest bytes",
	"2^63 bytes":                            "most significant bit",
	"2^63-1 bytes":                          "too large",
	"ping of 126 bytes":                     "too large",
	"ping in fragments":                     "fragmented control frame",
	"compressed ping":                       "RSV bit 1",
	"continuation of nothing":               "no message has begun",
	"message inside a message":              "has not ended",
	"Close of one byte":                     "half a status code",
	"Close with 999":                        "999",
	"Close with 1005":                       "1005",
	"Close with 1006":                       "1006",
	"Close with 1016":                       "1016",
	"Close with 2999":                       "2999",
	"Close with 65535":                      "65535",
	"Close with a reason that is not UTF-8": "not valid UTF-8",
	"text that is not UTF-8":                "not valid UTF-8",
	"text that ends in the middle of a character": "in the middle",
	"text that is proved wrong before it ends":    "not valid UTF-8",
}

func TestBrokenFrames(t *testing.T) {
	violations := edgewstest.Violations()
	require.Len(t, violations, len(brokenFrames))
	for _, v := range violations {
		says, ok := brokenFrames[v.Name]
		require.True(t, ok, v.Name)
		t.Run(v.Name, func(t *testing.T) { failsFor(t, v, says) })
	}
	header := func(length ...byte) edgewstest.Frame { return edgewstest.Frame{Fin: true, Opcode: 2, Length: length} }
	t.Run("32 MiB and a byte, by its header alone", func(t *testing.T) {
		frames := []edgewstest.Frame{header(127, 0, 0, 0, 0, 2, 0, 0, 1)}
		failsFor(t, edgewstest.Violation{Frames: frames, Code: 1009}, "33554433 > 33554432")
	})
	t.Run("2^63-1 bytes behind others", func(t *testing.T) {
		rest := header(127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
		rest.Opcode = 0
		failsFor(t, edgewstest.Violation{Frames: []edgewstest.Frame{edgewstest.TextFrame("x").More(), rest}, Code: 1009}, "too large")
	})
}

// failsFor checks that a server fails a client that sends the frames of v, and delivers the message before them.
func failsFor(t *testing.T, v edgewstest.Violation, says string) {
	t.Helper()
	withPeer(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		frames := p.encode(text("fine"))
		for _, f := range v.Frames {
			frames = f.Append(frames, true)
		}
		go p.writesAll(frames)
		reason := p.expectsClose(int(v.Code))
		assert.Contains(t, reason, says)
		events.wantsEnd(message("fine"), failed(says), closed(int(v.Code), reason, false))
		_, err := s.Receive(within(t))
		if v.Code == edgews.StatusMessageTooBig {
			assert.ErrorIs(t, err, edgews.ErrMessageTooBig)
		} else {
			var broken *edgews.ProtocolError
			require.ErrorAs(t, err, &broken)
			assert.Equal(t, v.Code, broken.Code)
			assert.Equal(t, v.Section, broken.Section)
		}
		p.hangsUp()
	})
}

// spent runs f. It returns the growth of the heap and all memory allocated during f, in bytes.
func spent(f func()) (grown, allocated int) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int(after.HeapAlloc) - int(before.HeapAlloc), int(after.TotalAlloc - before.TotalAlloc)
}

func TestSizeLimits(t *testing.T) {
	opts := edgews.Options{MaxMessageSize: 1000}
	just := strings.Repeat("x", 1000)
	cases := []struct {
		name   string
		frames []aFrame
	}{
		{"one frame", []aFrame{text(just + "x")}},
		{"fragments", []aFrame{part(text(just), false), continuation("", false), continuation("x", true)}},
		{"fragments that do not end", []aFrame{part(text(just), false), continuation("x", false)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			withPeer(t, opts, func(t *testing.T, s *edgews.Socket, p *peer) {
				events := record(t, s)
				require.NoError(t, s.Accept())
				p.sends(text(just), part(text(just), true))
				events.wants("text of 1000 bytes", "text of 1000 bytes")
				go p.writesAll(p.encode(c.frames...))
				p.expectsClose(1009)
				events.wants(failed("too big"))
				p.hangsUp()
			})
		})
	}
}

func TestMillionEmptyFragments(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		flood := p.encode(part(text(""), false))
		empty := p.encode(continuation("", false))
		flood = append(flood, bytes.Repeat(empty, 1_000_000)...)
		_, allocated := spent(func() {
			go p.writesAll(flood)
			events.wants(failed("too many fragments"))
			p.expectsClose(1008)
		})
		assert.Less(t, allocated, 4<<20)
		p.hangsUp()
	})
}

// A message in fragments of one byte takes no more memory than its bytes, however it is received. A fragment costs its sender 7 bytes.
func TestMillionTinyFragments(t *testing.T) {
	const size = 1_000_000
	for _, style := range []string{"listener", "receive", "reader"} {
		t.Run(style, func(t *testing.T) {
			overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
				received := make(chan int, 1)
				switch style {
				case "listener":
					s.OnMessage(func(e edgews.MessageEvent) { received <- len(e.Data) })
					require.NoError(t, s.Accept())
				case "receive":
					go func() {
						msg, err := s.Receive(t.Context())
						assert.NoError(t, err)
						received <- len(msg.Data)
					}()
				case "reader":
					go func() {
						_, r, err := s.NextReader(t.Context())
						if assert.NoError(t, err) {
							n, err := io.Copy(io.Discard, r)
							assert.NoError(t, err)
							received <- int(n)
						}
					}()
				}
				flood := p.encode(part(binaryOf("x"), false))
				flood = append(flood, bytes.Repeat(p.encode(continuation("x", false)), size-2)...)
				flood = append(flood, p.encode(continuation("x", true))...)
				_, allocated := spent(func() {
					go p.writesAll(flood)
					assert.Equal(t, size, <-received)
				})
				assert.Less(t, allocated, 8<<20)
				p.hangsUp()
			})
		})
	}
}

func TestMillionEmptyMessages(t *testing.T) {
	for _, style := range []string{"listener", "no consumer", "receiver that stopped"} {
		t.Run(style, func(t *testing.T) {
			overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
				if style == "listener" {
					s.OnMessage(func(edgews.MessageEvent) {})
				}
				if style == "receiver that stopped" {
					_, err := receiveFor(s, time.Microsecond)
					require.Error(t, err)
				}
				require.NoError(t, s.Accept())
				flood := bytes.Repeat(p.encode(text("")), 1_000_000)
				grown, _ := spent(func() {
					go p.writesAll(flood)
					time.Sleep(time.Minute)
				})
				assert.Less(t, grown, 2<<20)
				p.hangsUp()
			})
		})
	}
}

// deflated returns s compressed, as the payload of a permessage-deflate message (RFC 7692 §7.2.1).
func deflated(s string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	io.WriteString(w, s)
	w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// inFragments returns a compressed message as frames with n bytes of payload.
func inFragments(s string, n int) (frames []aFrame) {
	f := aFrame{bits: rsv1, opcode: 2}
	for ; len(s) > n; s = s[n:] {
		f.payload = s[:n]
		frames = append(frames, f)
		f = aFrame{}
	}
	f.payload, f.bits = s, f.bits|fin
	return append(frames, f)
}

func TestInflateBombs(t *testing.T) {
	bomb := deflated(strings.Repeat("\x00", 40<<20))
	require.Less(t, len(bomb), 70_000, "about 1000:1")
	cases := []struct {
		name   string
		limit  int64
		frames []aFrame
		code   int
		most   int // limit of allocated bytes
	}{
		{"whole", 0, inFragments(bomb, 1<<20), 1009, 256 << 20},
		{"whole, small limit", 1 << 20, inFragments(bomb, 1<<20), 1009, 16 << 20},
		{"in fragments", 1 << 20, inFragments(bomb, 100), 1009, 16 << 20},
		{"garbage", 0, []aFrame{{bits: fin | rsv1, opcode: 1, payload: "\xff\xff\xff\xff"}}, 1002, 16 << 20},
		{"text that is not UTF-8", 0, []aFrame{{bits: fin | rsv1, opcode: 1, payload: deflated("\xff")}}, 1007, 16 << 20},
		{"compressed size beyond the limit", 1000, []aFrame{{bits: fin | rsv1, opcode: 2, payload: strings.Repeat("x", 3000)}}, 1009, 16 << 20},
		{"one RSV1 too many", 0, []aFrame{{bits: rsv1, opcode: 2, payload: "x"}, {bits: fin | rsv1, payload: "y"}}, 1002, 16 << 20},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, p := overPipe.serverAndPeer(t, edgews.Options{MaxMessageSize: c.limit}, "permessage-deflate")
				events := record(t, s)
				require.NoError(t, s.Accept())
				p.sends(aFrame{bits: fin | rsv1, opcode: 1, payload: deflated("harmless")})
				events.wants(message("harmless"))
				flood := p.encode(c.frames...)
				_, allocated := spent(func() {
					go p.writesAll(flood)
					p.expectsClose(c.code)
				})
				assert.Less(t, allocated, c.most)
				waitDone(t, s)
				_, err := s.Receive(t.Context())
				assert.Equal(t, c.code == 1009, strings.Contains(err.Error(), "too big"), "%v", err)
				p.hangsUp()
			})
		})
	}
}

// A peer that sends pings and never reads uses little memory. Its socket ends after WriteTimeout.
func TestPingFloodWithoutReading(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		flood := bytes.Repeat(p.encode(ping(strings.Repeat("x", 125))), 100_000)
		_, allocated := spent(func() {
			go p.writesAll(flood)
			events.wantsEnd(failed("takes no data"), cut)
		})
		assert.Less(t, allocated, 8<<20)
	})
}

func TestPingFloodOverTCP(t *testing.T) {
	noGoroutinesLeft(t)
	s, p := overTCP.serverAndPeer(t, edgews.Options{})
	require.NoError(t, s.Accept())
	flood := bytes.Repeat(p.encode(ping("0123456789")), 50_000)
	grown, _ := spent(func() { p.writesAll(flood) })
	assert.Less(t, grown, 4<<20)
	p.hangsUp()
	waitDone(t, s)
}

func TestPeerThatNeverReads(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		refused := 0
		grown, _ := spent(func() {
			for range 100_000 {
				if s.SendBytes(make([]byte, 1000)) != nil {
					refused++
				}
			}
		})
		assert.Greater(t, refused, 90_000)
		assert.Less(t, grown, 4<<20)
		events.wantsEnd(failed("takes no data"), cut)
	})
}

// Bytes behind an invalid frame are dropped. The connection is closed after CloseTimeout.
func TestEndlessGarbageBehindAnError(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		events := record(t, s)
		require.NoError(t, s.Accept())
		p.ignores()
		start := time.Now()
		p.conn.SetWriteDeadline(time.Time{})
		for garbage := bytes.Repeat([]byte{0xff}, 1000); ; time.Sleep(time.Second) {
			if _, err := p.conn.Write(garbage); err != nil {
				break
			}
		}
		assert.LessOrEqual(t, time.Since(start), 10*time.Second)
		events.wants(failed("protocol error 1002"))
		waitDone(t, s)
	})
}

func TestEndlessMessagesAfterOurClose(t *testing.T) {
	overAPipe(t, edgews.Options{}, func(t *testing.T, s *edgews.Socket, p *peer) {
		s.OnMessage(func(edgews.MessageEvent) {})
		require.NoError(t, s.Accept())
		p.ignores()
		require.NoError(t, s.Close(1000, ""))
		start := time.Now()
		p.conn.SetWriteDeadline(time.Time{})
		for b := p.encode(text("not yet")); ; time.Sleep(100 * time.Millisecond) {
			if _, err := p.conn.Write(b); err != nil {
				break
			}
		}
		assert.LessOrEqual(t, time.Since(start), 11*time.Second)
		waitDone(t, s)
		assert.ErrorContains(t, s.Err(), "1006")
	})
}

func TestMessageThatNeverEnds(t *testing.T) {
	for _, style := range []string{"listener", "receive", "reader"} {
		t.Run(style, func(t *testing.T) {
			overAPipe(t, edgews.Options{MaxMessageSize: 2 << 20}, func(t *testing.T, s *edgews.Socket, p *peer) {
				switch style {
				case "listener":
					require.NoError(t, s.Accept())
				case "receive":
					go s.Receive(t.Context())
				case "reader":
					go func() {
						_, r, err := s.NextReader(t.Context())
						if assert.NoError(t, err) {
							io.Copy(io.Discard, r)
						}
					}()
				}
				p.sends(part(binaryOf(""), false))
				more := p.encode(continuation(strings.Repeat("x", 10_000), false))
				_, allocated := spent(func() {
					go p.writesAll(bytes.Repeat(more, 1000))
					p.expectsClose(1009)
				})
				assert.Less(t, allocated, 64<<20)
				p.hangsUp()
				waitDone(t, s)
			})
		})
	}
}

// The following attacks happen during the handshake. The limits of http.Server are part of the defence.

func httpServer(t *testing.T, readHeaders time.Duration) string {
	t.Helper()
	noGoroutinesLeft(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := edgews.Upgrade(w, r, nil); err == nil {
			s.Accept()
		}
	}))
	server.Config.ReadHeaderTimeout = readHeaders
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestHostileHandshakes(t *testing.T) {
	good := "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + aKey + "\r\n"
	without := func(line string) string { return strings.Replace(good, line, "", 1) }
	cases := []struct {
		name, request string
		status        int // 0: 431, unless unread bytes reset the connection before it is received
	}{
		{"64 MiB of headers", good + "X: " + strings.Repeat("x", 64<<20) + "\r\n", 0},
		{"64 MiB in many headers", good + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 64<<10), 0},
		{"no key", without("Sec-WebSocket-Key: " + aKey + "\r\n"), 400},
		{"key of 15 bytes", strings.Replace(good, aKey, "MTIzNDU2Nzg5MDEyMzQ1", 1), 400},
		{"key that is no base64", strings.Replace(good, aKey, "!!!!!!!!!!!!!!!!!!!!!!==", 1), 400},
		{"two keys", good + "Sec-WebSocket-Key: " + aKey + "\r\n", 400},
		{"two versions", good + "Sec-WebSocket-Version: 13\r\n", 426},
		{"two hosts", good + "Host: y\r\n", 400},
		{"body", good + "Content-Length: 5\r\n\r\n12345", 400},
		{"chunked body", good + "Transfer-Encoding: chunked\r\n\r\n0\r\n", 400},
		{"foreign origin", good + "Origin: https://evil.example\r\n", 403},
		{"two origins", good + "Origin: http://x\r\nOrigin: https://evil.example\r\n", 403},
		{"many extensions", good + strings.Repeat("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=8\r\n", 1000), 101},
		{"broken extension", good + "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n", 101},
	}
	addr := httpServer(t, patience)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			request := []byte(c.request + "\r\n")
			grown, allocated := spent(func() {
				go conn.Write(request)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				switch {
				case err == nil && c.status == 0:
					assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
				case c.status != 0 && assert.NoError(t, err):
					assert.Equal(t, c.status, resp.StatusCode)
				}
			})
			assert.Less(t, grown, 8<<20)
			assert.Less(t, allocated, 16<<20)
		})
	}
}

// ReadHeaderTimeout of the http.Server ends a request that is sent too slowly, before Upgrade is called.
func TestSlowHandshake(t *testing.T) {
	conn, err := net.Dial("tcp", httpServer(t, 50*time.Millisecond))
	require.NoError(t, err)
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgr")
	conn.SetDeadline(time.Now().Add(patience))
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.NotContains(t, string(answer), "101")
}

// A client that sends its handshake and reads nothing blocks the handler for WriteTimeout at most.
func TestHandshakeThatIsNeverRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 1)
		dial, _, _ := overPipe.serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, err := edgews.Upgrade(w, r, nil)
			errs <- err
		})
		conn := dial()
		start := time.Now()
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", aKey)
		require.Error(t, <-errs)
		assert.Equal(t, 10*time.Second, time.Since(start))
	})
}
