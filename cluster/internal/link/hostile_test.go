package link_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

func TestOptionsAreChecked(t *testing.T) {
	valid := func() link.Options {
		return link.Options{Self: link.Peer{ID: "a", Incarnation: 1}, Cluster: "test"}
	}
	_, err := link.New(valid())
	require.NoError(t, err)
	for name, change := range map[string]func(*link.Options){
		"no ID":                   func(o *link.Options) { o.Self.ID = "" },
		"no incarnation":          func(o *link.Options) { o.Self.Incarnation = 0 },
		"no cluster":              func(o *link.Options) { o.Cluster = "" },
		"a long ID":               func(o *link.Options) { o.Self.ID = string(make([]byte, 256)) },
		"no version":              func(o *link.Options) { o.Self.Versions = [2]uint16{2, 1} },
		"a short secret":          func(o *link.Options) { o.Secret = testSecret[:31] },
		"negative time":           func(o *link.Options) { o.AckTimeout = -1 },
		"a small window":          func(o *link.Options) { o.ChannelWindow = 1 },
		"a message without room":  func(o *link.Options) { o.LinkWindow = 1 << 20 },
		"no channels":             func(o *link.Options) { o.MaxChannels = -1 },
		"TLS without a CA":        func(o *link.Options) { o.TLS = clusterTLS(t); o.TLS.ClientCAs = nil },
		"TLS without a key":       func(o *link.Options) { o.TLS = clusterTLS(t); o.TLS.Certificates = nil },
		"TLS without any meaning": func(o *link.Options) { o.TLS = &tls.Config{InsecureSkipVerify: true} },
	} {
		o := valid()
		change(&o)
		_, err := link.New(o)
		require.Error(t, err, name)
	}
}

// Without TLS and without a secret there are no links outside of this machine.
func TestPlainOnlyOnLoopback(t *testing.T) {
	a := startTCPNode(t, "a", nil)
	for _, addr := range []string{"192.0.2.1:80", "[2001:db8::1]:80", "0.0.0.0:80"} {
		require.ErrorIs(t, a.Connect(link.Peer{ID: "b", Incarnation: 1, Addr: addr}), link.ErrInsecure, addr)
		_, err := a.Open(link.Peer{ID: "b", Incarnation: 1, Addr: addr}, nil, 0, newRecorder(true))
		require.ErrorIs(t, err, link.ErrInsecure, addr)
	}
	everywhere, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	require.ErrorIs(t, a.Serve(everywhere), link.ErrInsecure)
	_, err = everywhere.Accept()
	require.ErrorIs(t, err, net.ErrClosed)

	secret := startTCPNode(t, "b", func(o *link.Options) { o.Secret = testSecret })
	require.NoError(t, secret.Connect(link.Peer{ID: "c", Incarnation: 1, Addr: "192.0.2.1:80"}))

	// A name, or a Dial of the program's own, that leads out of the machine: not a byte is sent.
	outside := newNetwork()
	outside.wrap = func(_ int, dialed, accepted net.Conn) (net.Conn, net.Conn) { return &outsideConn{dialed}, accepted }
	l := outside.listen("db.example:80")
	c := startNode(t, outside, "c", 1, nil)
	require.NoError(t, c.Connect(link.Peer{ID: "d", Incarnation: 1, Addr: "db.example:80"}))
	reached, err := l.Accept()
	require.NoError(t, err)
	n, err := reached.Read(make([]byte, 1))
	assert.Zero(t, n)
	require.ErrorIs(t, err, io.EOF)
}

type outsideConn struct{ net.Conn }

func (outsideConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

// Members that do not trust each other, or do not speak the same language, do not get a link.
func TestStrangers(t *testing.T) {
	other := []byte("fedcba9876543210fedcba9876543210")
	stranger := func(o *link.Options) {
		saved := authority
		authority.key = nil
		defer func() { authority = saved }()
		o.TLS = clusterTLS(t)
	}
	for name, c := range map[string]struct{ a, b func(*link.Options) }{
		"another cluster":   {nil, func(o *link.Options) { o.Cluster = "other" }},
		"later versions":    {nil, func(o *link.Options) { o.Self.Versions = [2]uint16{2, 3} }},
		"another secret":    {func(o *link.Options) { o.Secret = testSecret }, func(o *link.Options) { o.Secret = other }},
		"no secret":         {func(o *link.Options) { o.Secret = testSecret }, nil},
		"not admitted":      {nil, func(o *link.Options) { o.Admit = func(link.Peer) bool { return false } }},
		"another authority": {func(o *link.Options) { o.TLS = clusterTLS(t) }, stranger},
		"TLS with a wrong secret": {
			func(o *link.Options) { o.TLS, o.Secret = clusterTLS(t), testSecret },
			func(o *link.Options) { o.TLS, o.Secret = clusterTLS(t), other },
		},
		"TLS and none": {func(o *link.Options) { o.TLS = clusterTLS(t) }, nil},
		"TLS and a secret, or TLS": {
			func(o *link.Options) { o.TLS, o.Secret = clusterTLS(t), testSecret },
			func(o *link.Options) { o.TLS = clusterTLS(t) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			checkNoLink(t, c.a, c.b)
			if name != "not admitted" { // the dialling end has chosen its peer
				checkNoLink(t, c.b, c.a)
			}
		})
	}
}

// checkNoLink checks that a node that dials another one is given no link.
func checkNoLink(t *testing.T, changeA, changeB func(*link.Options)) {
	tried := make(chan struct{}, 100)
	a := startTCPNode(t, "a", func(o *link.Options) {
		if changeA != nil {
			changeA(o)
		}
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			tried <- struct{}{}
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	})
	b := startTCPNode(t, "b", changeB)
	a.open(b, "hello")
	for range 3 {
		<-tried // the attempts before it have failed
	}
	assert.Empty(t, a.events)
	assert.Empty(t, b.events)
	assert.Empty(t, b.opened)
	a.stop()
	b.stop()
}

// A relay between two members that know the secret may pass their TLS connection on, but not put itself in its place.
func TestRelay(t *testing.T) {
	secret := func(o *link.Options) { o.Secret = testSecret }
	relay := func(between func(from, to net.Conn) (net.Conn, net.Conn)) (a, b *node) {
		b = startTCPNode(t, "b", secret)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		tried := make(chan struct{}, 100)
		go func() {
			for {
				from, err := l.Accept()
				if err != nil {
					return
				}
				to, err := net.Dial("tcp", b.self.Addr)
				if err != nil {
					return
				}
				tried <- struct{}{}
				from, to = between(from, to)
				go func() { io.Copy(to, from); to.Close() }()
				go func() { io.Copy(from, to); from.Close() }()
			}
		}()
		a = startTCPNode(t, "a", secret)
		behind := b.self
		behind.Addr = l.Addr().String()
		require.NoError(t, a.Connect(behind))
		for range 3 {
			select {
			case <-tried:
			case e := <-a.events:
				a.events <- e
				return a, b
			}
		}
		return a, b
	}
	a, b := relay(func(from, to net.Conn) (net.Conn, net.Conn) { return from, to })
	assert.True(t, (<-a.events).Up)
	assert.True(t, (<-b.events).Up)

	certificate := clusterTLS(t)
	a, b = relay(func(from, to net.Conn) (net.Conn, net.Conn) {
		return tls.Server(from, certificate), tls.Client(to, &tls.Config{InsecureSkipVerify: true})
	})
	assert.Empty(t, a.events)
	assert.Empty(t, b.events)
}

// Versions N and N+1 speak N.
func TestVersions(t *testing.T) {
	a := startTCPNode(t, "a", func(o *link.Options) { o.Self.Versions = [2]uint16{1, 2} })
	b := startTCPNode(t, "b", func(o *link.Options) { o.Self.Versions = [2]uint16{2, 3} })
	out := a.open(b, "")
	in := <-b.opened
	in.send(t, []string{"hello"})
	assert.Equal(t, []string{"hello"}, out.received(1))
	assert.Equal(t, uint16(2), out.Version())
	assert.Equal(t, uint16(2), in.Version())
}

// rawPeer is a peer that speaks the protocol by hand.
type rawPeer struct {
	net.Conn
	t *testing.T
}

const (
	rawHello, rawWelcome, rawProof, rawReady, rawRefuse = 1, 2, 3, 4, 5
	rawOpen, rawData, rawEnd, rawAck, rawAsk, rawNack   = 16, 17, 18, 19, 20, 21
	rawReset, rawGone, rawReopen, rawUnsupported        = 22, 23, 24, 25
	rawPing, rawPong                                    = 26, 27
)

func rawFrame(version, kind byte, code uint16, channel uint64, seq, received, consumed uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	b = append(b, version, kind)
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint64(b, channel)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, received)
	b = binary.BigEndian.AppendUint32(b, consumed)
	return append(b, payload...)
}

func rawOpenFrame(channel uint64) []byte {
	return rawFrame(1, rawOpen, 0, channel, 0, 0, 0, make([]byte, 8))
}

// read returns the header and the payload of the next frame.
func (p *rawPeer) read() (header, payload []byte, err error) {
	header = make([]byte, testHeaderLen)
	if _, err = io.ReadFull(p, header); err != nil {
		return nil, nil, err
	}
	payload = make([]byte, binary.BigEndian.Uint32(header))
	_, err = io.ReadFull(p, payload)
	return header, payload, err
}

// expect reads frames up to the first of the kind, and returns it.
func (p *rawPeer) expect(kind byte) (header, payload []byte) {
	for {
		header, payload, err := p.read()
		require.NoError(p.t, err)
		if header[5] == kind {
			return header, payload
		}
	}
}

// dialRaw connects to a node and does the handshake of a plain link.
func dialRaw(t *testing.T, to *node) *rawPeer {
	c, err := net.Dial("tcp", to.self.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	p := &rawPeer{c, t}
	limits := map[string]int{"channelWindow": 64 << 10, "linkWindow": 32 << 20, "maxMessage": 1 << 20, "maxChannels": 100}
	said, err := json.Marshal(map[string]any{
		"cluster": "test", "id": "raw", "incarnation": 7, "versions": [2]int{1, 1}, "session": "s", "limits": limits, "added later": true,
	})
	require.NoError(t, err)
	_, err = p.Write(rawFrame(1, rawHello, 0, 0, 0, 0, 0, said))
	require.NoError(t, err)
	p.expect(rawWelcome)
	p.expect(rawProof)
	_, err = p.Write(rawFrame(1, rawProof, 0, 0, 0, 0, 0, nil))
	require.NoError(t, err)
	p.expect(rawReady)
	return p
}

// A frame of a type, or of a version, that a node does not know is answered; the link goes on.
func TestUnknownFrames(t *testing.T) {
	b := startTCPNode(t, "b", nil)
	p := dialRaw(t, b)
	p.Write(rawFrame(1, 200, 0, 1, 0, 0, 0, []byte("what is this?")))
	header, _ := p.expect(rawUnsupported)
	assert.Equal(t, uint16(200), binary.BigEndian.Uint16(header[6:]))
	p.Write(rawFrame(9, rawData, 0, 1, 0, 0, 0, []byte("of another version")))
	header, _ = p.expect(rawUnsupported)
	assert.Equal(t, uint16(rawData), binary.BigEndian.Uint16(header[6:]))
	p.Write(rawFrame(1, rawUnsupported, 0, 0, 0, 0, 0, nil))
	p.Write(rawOpenFrame(1))
	p.Write(rawFrame(1, rawData, 0, 1, 1, 0, 0, []byte("still alive")))
	assert.Equal(t, []string{"still alive"}, (<-b.opened).received(1))
}

// What the rules forbid ends the connection, and nothing else.
func TestProtocolErrors(t *testing.T) {
	b := startTCPNode(t, "b", func(o *link.Options) { o.MaxMessage = 1 << 20 })
	open := rawOpenFrame(1)
	end := rawFrame(1, rawEnd, 0, 1, 1, 0, 0, nil)
	for name, frames := range map[string][][]byte{
		"a large frame":            {{255, 255, 255, 255, 1, rawData}, make([]byte, 100)},
		"a short open":             {rawFrame(1, rawOpen, 0, 1, 0, 0, 0, nil)},
		"a large greeting":         {rawFrame(1, rawOpen, 0, 1, 0, 0, 0, make([]byte, 8+64<<10+1))},
		"an open of another base":  {rawFrame(1, rawOpen, 0, 1, 5, 0, 0, make([]byte, 8))},
		"a message after the end":  {open, end, rawFrame(1, rawData, 0, 1, 2, 0, 0, nil)},
		"a large reason":           {open, rawFrame(1, rawEnd, 0, 1, 1, 0, 0, make([]byte, 1025))},
		"an ack of what is unsent": {open, rawFrame(1, rawAck, 0, 1, 0, 9, 0, nil)},
		"consumed, not received":   {open, rawFrame(1, rawAck, 0, 1, 0, 0, 9, nil)},
		"a reopen":                 {rawFrame(1, rawReopen, 0, 1, 0, 0, 0, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			p := dialRaw(t, b)
			require.True(t, (<-b.events).Up)
			for _, f := range frames {
				p.Write(f)
			}
			for down := range b.events {
				if !down.Refused {
					require.ErrorIs(t, down.Err, link.ErrProtocol)
					break
				}
			}
			for {
				if _, _, err := p.read(); err != nil {
					break
				}
			}
		})
	}
}

// A peer that sends more than the windows allow, to receivers that are stuck, is cut off: what arrives is bounded.
func TestWindowsAreEnforced(t *testing.T) {
	const channelWindow, linkWindow, reserve, cost = 64 << 10, 2 << 20, 4 << 10, 1000 + 64
	for name, c := range map[string]struct{ channels, each, window, reserves int }{
		"a channel's window": {1, 1000, channelWindow, 0},
		"the link's window":  {100, channelWindow / cost, linkWindow, 100 * reserve},
	} {
		t.Run(name, func(t *testing.T) {
			received := newRecorder(false)
			b := startTCPNode(t, "b", func(o *link.Options) {
				o.LinkWindow, o.MaxMessage = linkWindow, 1<<20
				o.Accept = func(link.Peer, *link.Channel, []byte) link.Receiver { return &stuckReceiver{received} }
			})
			p := dialRaw(t, b)
			go io.Copy(io.Discard, p)
			require.True(t, (<-b.events).Up)
			for id := range uint64(c.channels) {
				p.Write(rawOpenFrame(id + 1))
				for seq := range uint32(c.each) {
					p.Write(rawFrame(1, rawData, 0, id+1, seq+1, 0, 0, make([]byte, 1000)))
				}
			}
			require.ErrorIs(t, (<-b.events).Err, link.ErrProtocol)
			received.note(func() {
				assert.LessOrEqual(t, received.count*cost, c.window+c.reserves)
				assert.Greater(t, (received.count+10)*cost, c.window)
			})
		})
	}
}

// Bytes that are not a handshake, and peers that say nothing, cost a connection and no more.
func TestHostileHandshakes(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			b := startTCPNode(t, "b", func(o *link.Options) {
				if way != nil {
					way(o)
				}
				o.HandshakeTimeout = 500 * time.Millisecond
			})
			for _, bytes := range [][]byte{
				nil,
				[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
				make([]byte, 100),
				rawFrame(1, rawHello, 0, 0, 0, 0, 0, []byte("{}")),
				rawFrame(1, rawHello, 0, 0, 0, 0, 0, []byte("not JSON")),
				rawFrame(1, rawHello, 0, 0, 0, 0, 0, []byte(`{"cluster":"test","id":"x","versions":[1,1]}`)),
				rawFrame(1, rawHello, 0, 0, 0, 0, 0, make([]byte, 5000)),
				rawFrame(1, rawData, 0, 0, 0, 0, 0, nil),
				rawFrame(1, rawRefuse, 3, 0, 0, 0, 0, nil),
			} {
				c, err := net.Dial("tcp", b.self.Addr)
				require.NoError(t, err)
				c.Write(bytes)
				io.Copy(io.Discard, c) // until it is closed
				c.Close()
			}
			a := startTCPNode(t, "a", way)
			a.open(b, "")
			<-b.opened
		})
	}
}

// Connections that say nothing are closed when their time is over, at once if there are too many; after them, members get in.
func TestManySilentConnections(t *testing.T) {
	b := startTCPNode(t, "b", func(o *link.Options) { o.HandshakeTimeout = 500 * time.Millisecond })
	var silent []net.Conn
	for range 300 {
		c, err := net.Dial("tcp", b.self.Addr)
		require.NoError(t, err)
		silent = append(silent, c)
	}
	for _, c := range silent {
		io.Copy(io.Discard, c)
		c.Close()
	}
	startTCPNode(t, "a", nil).open(b, "")
	<-b.opened
}

// A peer that opens more channels than it may is not served, and costs no memory; it is once there is room.
func TestTooManyChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := startNode(t, n, "a", 1, nil)
		b := startNode(t, n, "b", 1, func(o *link.Options) { o.MaxChannels = 3 })
		hidden := n.hide(b.self.Addr)
		all := []*recorder{a.open(b, ""), a.open(b, ""), a.open(b, ""), a.open(b, "")} // the limit is not known yet
		n.show(hidden)
		for range 3 {
			<-b.opened
		}
		time.Sleep(time.Minute)
		assert.Empty(t, b.opened)
		_, err := a.Open(b.self, nil, 0, newRecorder(true))
		require.ErrorIs(t, err, link.ErrTooManyChannels)
		start := time.Now()
		all[0].Reset(300, nil)
		(<-b.opened).send(t, []string{"welcome"})
		assert.Equal(t, []string{"welcome"}, all[3].received(1))
		assert.Less(t, time.Since(start), time.Second)
	})
}
