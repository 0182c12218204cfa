package edgewstest_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFrameBytes(t *testing.T) {
	text := edgewstest.TextFrame("Hello")
	cases := []struct {
		name   string
		frame  edgewstest.Frame
		client bool
		want   string
	}{
		// RFC 6455 §5.7
		{"text", text, false, "\x81\x05Hello"},
		{"masked text", text, true, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{"fragment", edgewstest.TextFrame("Hel").More(), false, "\x01\x03Hel"},
		{"continuation", edgewstest.ContinuationFrame("lo"), false, "\x80\x02lo"},
		{"ping", edgewstest.PingFrame("Hello"), false, "\x89\x05Hello"},
		{"pong", edgewstest.PongFrame("Hello"), true, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{"256 bytes", edgewstest.BinaryFrame(strings.Repeat("x", 256)), false, "\x82\x7e\x01\x00" + strings.Repeat("x", 256)},
		{"64 KiB", edgewstest.BinaryFrame(strings.Repeat("x", 65536)), false, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("x", 65536)},
		{"Close", edgewstest.CloseFrame(1000, "bye"), false, "\x88\x05\x03\xe8bye"},
		{"empty Close", edgewstest.CloseFrame(0, "ignored"), false, "\x88\x00"},
		{"client without a mask", text.WithWrongMask(), true, "\x81\x05Hello"},
		{"server with a mask", text.WithWrongMask(), false, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{"reserved bits", edgewstest.Frame{Fin: true, RSV: 5, Opcode: 3}, false, "\xd3\x00"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := c.frame.Append([]byte("before "), c.client)
			require.Equal(t, "before "+c.want, string(b))
			got, err := edgewstest.ReadFrame(strings.NewReader(c.want), c.client)
			require.NoError(t, err)
			assert.Equal(t, c.frame, got)
			for n := range min(len(c.want), 300) {
				_, err := edgewstest.ReadFrame(strings.NewReader(c.want[:n]), c.client)
				if n == 0 {
					require.Equal(t, io.EOF, err)
				} else {
					require.Equal(t, io.ErrUnexpectedEOF, err, "%d bytes", n)
				}
			}
		})
	}
	b := edgewstest.Frame{Fin: true, Opcode: 2, Payload: "x", Length: []byte{126, 0, 1}}.Append(nil, true)
	assert.Equal(t, "\x82\xfe\x00\x01\x37\xfa\x21\x3d\x4f", string(b))
	_, err := edgewstest.ReadFrame(strings.NewReader("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), false)
	assert.ErrorContains(t, err, "most significant bit")
	_, err = edgewstest.ReadFrame(strings.NewReader("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff..."), false)
	assert.Equal(t, io.ErrUnexpectedEOF, err, "takes no memory for what has not arrived")
}

func TestFrameString(t *testing.T) {
	for want, f := range map[string]edgewstest.Frame{
		`text "hello"`:                          edgewstest.TextFrame("hello"),
		`text "hel", more follows`:              edgewstest.TextFrame("hel").More(),
		`continuation "lo"`:                     edgewstest.ContinuationFrame("lo"),
		`binary "\x00"`:                         edgewstest.BinaryFrame("\x00"),
		`ping "1", wrong mask`:                  edgewstest.PingFrame("1").WithWrongMask(),
		`pong ""`:                               edgewstest.PongFrame(""),
		`close 1000 "bye"`:                      edgewstest.CloseFrame(1000, "bye"),
		`close without a code`:                  edgewstest.CloseFrame(0, ""),
		`close "x"`:                             {Fin: true, Opcode: 8, Payload: "x"},
		`RSV1 RSV3 opcode 3 ""`:                 {Fin: true, RSV: 5, Opcode: 3},
		`binary "x", length 7e 00 01`:           edgewstest.LongLengthFrame(),
		`text of 2000 bytes, SHA-256 ` + "2b7a": edgewstest.TextFrame(strings.Repeat("x", 2000)),
	} {
		if head, _, ok := strings.Cut(want, "SHA"); ok {
			assert.Contains(t, f.String(), head)
			continue
		}
		assert.Equal(t, want, f.String())
	}
}

// The library fails each violation as the table says, in both roles and both styles.
func TestViolations(t *testing.T) {
	for _, v := range edgewstest.Violations() {
		check := func(t *testing.T, s *edgews.Socket, p *edgewstest.Peer) {
			rec := edgewstest.Record(t, s)
			require.NoError(t, s.Accept())
			p.Write(v.Frames...)
			reason := p.ExpectClose(v.Code)
			rec.WantEnd("error ", edgewstest.CloseLine(v.Code, reason, false))
			_, err := s.Receive(t.Context())
			var broken *edgews.ProtocolError
			if v.Section == "" {
				assert.ErrorIs(t, err, edgews.ErrMessageTooBig)
			} else if assert.ErrorAs(t, err, &broken) {
				assert.Equal(t, v.Section, broken.Section)
				assert.Equal(t, v.Code, broken.Code)
			}
			p.Close()
		}
		t.Run("client/"+v.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sockets := make(chan *edgews.Socket, 1)
				srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s, err := edgews.Upgrade(w, r, nil)
					assert.NoError(t, err)
					sockets <- s
				}))
				p := srv.DialPeer("/", nil)
				check(t, <-sockets, p)
			})
		})
		t.Run("server/"+v.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := edgewstest.NewFakeServer(t)
				s, _, err := edgews.Dial(t.Context(), fake.URL, &edgews.DialOptions{HTTPClient: fake.Client()})
				require.NoError(t, err)
				check(t, s, fake.Accept())
			})
		})
	}
}

func TestPeerAgainstAHandler(t *testing.T) {
	inAndOutOfABubble(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "yes", r.Header.Get("X-Test"))
			echo(w, r)
		}))
		p := srv.DialPeer("/path?query", http.Header{"X-Test": {"yes"}, "Origin": {srv.URL}})
		assert.Equal(t, "/path?query", p.Request.URL.RequestURI())
		assert.Equal(t, http.StatusSwitchingProtocols, p.Response.StatusCode)
		p.Write(edgewstest.TextFrame("a ").More(), edgewstest.PingFrame("between"), edgewstest.ContinuationFrame("whole"))
		p.Expect(edgewstest.PongFrame("between"), edgewstest.TextFrame("a whole"))
		bytes := p.Encode(edgewstest.BinaryFrame("byte by byte"))
		for i := range bytes {
			p.WriteBytes(bytes[i : i+1])
		}
		assert.Equal(t, edgewstest.BinaryFrame("byte by byte"), p.ReadFrame())
		p.CloseCleanly(1000, "bye")

		p = srv.DialPeer("/", http.Header{"X-Test": {"yes"}})
		p.Write(edgewstest.CloseFrame(0, ""))
		assert.Empty(t, p.ExpectClose(0))
		p.ExpectEnd()

		p = srv.DialPeer("/", http.Header{"X-Test": {"yes"}})
		p.Discard()
		p.Write(edgewstest.TextFrame("is dropped"))
		p.Close()
		p.Close()
	})
}

// A peer works over any connection: here over TCP.
func TestPeerOverTCP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	p := edgewstest.NewPeer(t, conn, true)
	p.Upgrade(server.URL+"/", nil)
	assert.Nil(t, p.Conn())
	p.Write(edgewstest.TextFrame("hello"))
	p.Expect(edgewstest.TextFrame("hello"))
	p.CloseCleanly(1000, "")
}

func TestFakeServer(t *testing.T) {
	inAndOutOfABubble(t, func(t *testing.T) {
		fake := edgewstest.NewFakeServer(t)
		s, _, err := edgews.Dial(t.Context(), fake.URL+"/feed", &edgews.DialOptions{HTTPClient: fake.Client()})
		require.NoError(t, err)
		rec := edgewstest.Record(t, s)
		require.NoError(t, s.Accept())
		p := fake.Accept()
		assert.Equal(t, "/feed", p.Request.URL.Path)
		p.Write(edgewstest.TextFrame("hello"), edgewstest.PingFrame("1"))
		p.Expect(edgewstest.PongFrame("1"))
		rec.Want(`text "hello"`)
		require.NoError(t, s.Send("and back"))
		p.Expect(edgewstest.TextFrame("and back"))
		p.CloseCleanly(1001, "restart")
		rec.WantEnd(`close 1001 "restart" clean=true`)
	})
}

// A program that reconnects, against a server that refuses, fails and then works. Its waits take no time.
func TestFakeServerRefusesAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := edgewstest.NewFakeServer(t)
		attempts := 0
		fake.Answer = func(p *edgewstest.Peer) {
			attempts++
			switch attempts {
			case 1:
				p.Refuse(503, http.Header{"Retry-After": {"30"}}, "restarting")
			case 2:
				p.Conn().Reset()
			case 3:
				p.AnswerUpgrade(http.Header{"Sec-WebSocket-Accept": {"wrong"}})
			default:
				p.AnswerUpgrade(http.Header{"X-Attempt": {"last"}})
			}
		}
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			opts := &edgews.ReconnectOptions{DialOptions: edgews.DialOptions{HTTPClient: fake.Client()}}
			for s, err := range edgews.Reconnect(t.Context(), fake.URL, opts) {
				if err != nil {
					t.Errorf("Reconnect: %v", err)
					return
				}
				for msg, err := range s.Messages(t.Context()) {
					if err != nil || msg.Text() == "stop" {
						return
					}
				}
			}
		}()
		for range 3 {
			fake.Accept()
		}
		p := fake.Accept()
		assert.Equal(t, 4, attempts)
		assert.Greater(t, time.Since(start), 30*time.Second)
		p.Write(edgewstest.TextFrame("stop"))
		<-done
	})
}

func TestFakeServerRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := edgewstest.NewFakeServer(t)
		fake.Answer = func(p *edgewstest.Peer) { p.Refuse(http.StatusTooManyRequests, nil, "slow down") }
		for range 2 { // each on a connection of its own
			_, resp, err := edgews.Dial(t.Context(), fake.URL, &edgews.DialOptions{HTTPClient: fake.Client()})
			assert.ErrorContains(t, err, "slow down")
			assert.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
			fake.Accept().ExpectEnd()
		}
	})
}

func TestFakeServerOnConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := edgewstest.NewFakeServer(t)
		fake.OnConnect = func(client *edgewstest.Conn) { client.Incoming().Stall() }
		_, _, err := edgews.Dial(t.Context(), fake.URL, &edgews.DialOptions{
			HTTPClient: &http.Client{Transport: fake.Client().Transport, Timeout: time.Minute},
		})
		assert.ErrorContains(t, err, "HTTPClient.Timeout of 1m0s exceeded")
		fake.Accept()
	})
}

func TestFakeServerReportsLeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *edgews.Socket
		reports := runTest(func(t testing.TB) {
			fake := edgewstest.NewFakeServer(t)
			s, _, _ = edgews.Dial(t.Context(), fake.URL+"/feed", &edgews.DialOptions{HTTPClient: fake.Client()})
			fake.Accept()
		})
		assert.Equal(t, []string{"edgewstest: connection 1 (GET /feed) is still open, 1m0s after its other end has gone: a socket that is not accepted " +
			"does not notice; accept it or close it"}, reports)
		s.Accept()
		<-s.Done()
		assert.Empty(t, runTest(func(t testing.TB) { edgewstest.NewFakeServer(t) }))
	})
}

// What tests that fail say.
func TestPeerReports(t *testing.T) {
	cases := []struct {
		name string
		do   func(p, other *edgewstest.Peer)
		want string
	}{
		{"another frame", func(p, other *edgewstest.Peer) {
			other.Write(edgewstest.TextFrame("one"), edgewstest.TextFrame("twelve"))
			p.Expect(edgewstest.TextFrame("one"), edgewstest.TextFrame("two"))
		}, "edgewstest: the peer has received another frame (2 of 2):\n  - text \"two\"\n  + text \"twelve\"\n            ^\n"},
		{"another mask", func(p, other *edgewstest.Peer) {
			other.Write(edgewstest.TextFrame("x").WithWrongMask())
			p.Expect(edgewstest.TextFrame("x"))
		}, "edgewstest: the peer has received another frame (1 of 1):\n  - text \"x\"\n  + text \"x\", wrong mask\n            ^\n"},
		{"no frame", func(p, _ *edgewstest.Peer) {
			p.Expect(edgewstest.PongFrame("1"))
		}, `edgewstest: the peer expects pong "1" (frame 1 of 1): nothing has arrived for 1m0s`},
		{"an end", func(p, other *edgewstest.Peer) {
			other.Close()
			p.ReadFrame()
		}, "edgewstest: the peer expects a frame: the connection has ended"},
		{"half a frame", func(p, other *edgewstest.Peer) {
			other.WriteBytes([]byte{0x81})
			other.Close()
			p.ReadFrame()
		}, "edgewstest: the peer expects a frame: the connection has ended in the middle of a frame"},
		{"another Close", func(p, other *edgewstest.Peer) {
			other.Write(edgewstest.CloseFrame(1002, "no"))
			p.ExpectClose(1000)
		}, `edgewstest: the peer expects a Close with 1000 normal closure, but has received close 1002 "no"`},
		{"a message before the Close", func(p, other *edgewstest.Peer) {
			other.Write(edgewstest.TextFrame("wait"), edgewstest.CloseFrame(1000, ""))
			p.ExpectClose(1000)
		}, `edgewstest: the peer expects a Close with 1000 normal closure, but has received text "wait"`},
		{"an empty Close", func(p, other *edgewstest.Peer) {
			other.Write(edgewstest.CloseFrame(0, ""))
			p.ExpectClose(1000)
		}, `edgewstest: the peer expects a Close with 1000 normal closure, but has received close without a code`},
		{"half a code", func(p, other *edgewstest.Peer) {
			other.Write(edgewstest.Frame{Fin: true, Opcode: 8, Payload: "x"})
			p.ExpectClose(0)
		}, `edgewstest: the peer expects a Close with 0, but has received close "x"`},
		{"no Close", func(p, other *edgewstest.Peer) {
			other.Close()
			p.ExpectClose(1001)
		}, "edgewstest: the peer expects a Close with 1001 going away: the connection has ended"},
		{"no end", func(p, other *edgewstest.Peer) {
			other.Write(edgewstest.TextFrame("more"))
			p.ExpectEnd()
		}, `edgewstest: the peer expects the end of the connection, but has received text "more"`},
		{"silence instead of the end", func(p, _ *edgewstest.Peer) {
			p.ExpectEnd()
		}, "edgewstest: the peer expects the end of the connection: nothing has arrived for 1m0s"},
		{"an answer that is not 101", func(p, other *edgewstest.Peer) {
			other.WriteBytes([]byte("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 9\r\n\r\nslow down"))
			p.Upgrade("http://edgews.test/chat", nil)
		}, "edgewstest: GET /chat was answered with 429 Too Many Requests: slow down"},
		{"an answer to another key", func(p, other *edgewstest.Peer) {
			other.WriteBytes([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
			p.Upgrade("http://edgews.test/chat", nil)
		}, `edgewstest: GET /chat was answered with Sec-WebSocket-Accept "" instead of "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="`},
		{"no answer", func(p, other *edgewstest.Peer) {
			other.Close()
			p.Upgrade("http://edgews.test/chat", nil)
		}, "edgewstest: the peer cannot send its request: write memory 192.0.2.1:1025->192.0.2.2:80: write: broken pipe"},
		{"a URL that is none", func(p, _ *edgewstest.Peer) {
			p.Upgrade("://", nil)
		}, `edgewstest: Upgrade: parse "://": missing protocol scheme`},
		{"no request", func(p, other *edgewstest.Peer) {
			p.Close()
			other.AnswerUpgrade(nil)
		}, "edgewstest: the peer expects a request: EOF"},
		{"a connection that takes no more", func(p, _ *edgewstest.Peer) {
			p.WriteBytes(make([]byte, 1<<20))
		}, "edgewstest: the peer has sent 65536 of 1048576 bytes: write memory 192.0.2.1:1025->192.0.2.2:80: i/o timeout"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				assert.Equal(t, []string{c.want}, runTest(func(t testing.TB) {
					a, b := edgewstest.Pipe()
					c.do(edgewstest.NewPeer(t, a, true), edgewstest.NewPeer(t, b, false))
					t.Error("the test goes on")
				}))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		assert.Equal(t, []string{"edgewstest: no opening handshake for 1m0s"}, runTest(func(t testing.TB) { edgewstest.NewFakeServer(t).Accept() }))
	})
}

// ReadFrame is only a decoder: it reads no more than one frame.
func TestReadFrameReadsNoFurther(t *testing.T) {
	r := bytes.NewReader([]byte("\x81\x01a\x81\x01b"))
	for _, want := range []string{"a", "b"} {
		f, err := edgewstest.ReadFrame(r, false)
		require.NoError(t, err)
		assert.Equal(t, edgewstest.TextFrame(want), f)
	}
	_, err := edgewstest.ReadFrame(bufio.NewReader(r), false)
	assert.Equal(t, io.EOF, err)
}

// What ReadFrame has read, Append can write so that ReadFrame reads it again.
func FuzzReadFrame(f *testing.F) {
	for _, v := range edgewstest.Violations() {
		for _, frame := range v.Frames {
			f.Add(frame.Append(nil, true), true)
			f.Add(frame.Append(nil, false), false)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, client bool) {
		frame, err := edgewstest.ReadFrame(bytes.NewReader(input), client)
		if err != nil {
			return
		}
		again, err := edgewstest.ReadFrame(bytes.NewReader(frame.Append(nil, client)), client)
		require.NoError(t, err)
		require.Equal(t, frame, again)
		_ = frame.String()
	})
}
