package link_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/cluster/internal/link"
)

var testSecret = []byte("0123456789abcdef0123456789abcdef")

// ways are the ways in which nodes trust each other.
func ways(t *testing.T) map[string]func(*link.Options) {
	return map[string]func(*link.Options){
		"plain":          nil,
		"secret":         func(o *link.Options) { o.Secret = testSecret },
		"TLS":            func(o *link.Options) { o.TLS = clusterTLS(t) },
		"TLS and secret": func(o *link.Options) { o.TLS, o.Secret = clusterTLS(t), testSecret },
	}
}

var authority = struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}{}

// clusterTLS returns the configuration of a member, with a certificate of the test's authority.
func clusterTLS(t *testing.T) *tls.Config {
	if authority.key == nil {
		authority.key, authority.cert = makeCertificate(t, nil, nil)
	}
	key, cert := makeCertificate(t, authority.key, authority.cert)
	pool := x509.NewCertPool()
	pool.AddCert(authority.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool,
	}
}

func makeCertificate(t *testing.T, by *ecdsa.PrivateKey, parent *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        by == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if by == nil {
		by, parent = key, template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return key, cert
}

func TestChannelOverTCP(t *testing.T) {
	for name, way := range ways(t) {
		t.Run(name, func(t *testing.T) {
			a, b := startTCPNode(t, "a", way), startTCPNode(t, "b", way)
			out := a.open(b, "GET /")
			all := numbered(5000)
			go out.send(t, all)
			in := <-b.opened
			assert.Equal(t, "GET /", in.greeting)
			assert.Equal(t, a.self.ID, in.from.ID)
			assert.Equal(t, a.self.Incarnation, in.from.Incarnation)
			assert.Equal(t, a.self.Addr, in.from.Addr)
			assert.Equal(t, all, in.received(len(all)))
			in.send(t, all)
			assert.Equal(t, all, out.received(len(all)))

			require.NoError(t, out.End([]byte("bye")))
			in.wait(func() bool { return in.ended != nil })
			assert.Equal(t, "bye", *in.ended)
			_, err := in.Send(context.Background(), []byte("after the peer's end"))
			require.NoError(t, err)
			require.NoError(t, in.End(nil))
			require.NoError(t, out.failure())
			require.NoError(t, in.failure())
			assert.Equal(t, "after the peer's end", out.messages[len(all)])
			_, err = out.TrySend([]byte("late"))
			require.ErrorIs(t, err, link.ErrEnded)
			require.ErrorIs(t, out.End(nil), link.ErrEnded)

			up := <-a.events
			assert.True(t, up.Up)
			assert.Equal(t, "b", up.Peer.ID)
		})
	}
}

// A large message, and one that is too large.
func TestMessageSizes(t *testing.T) {
	a, b := startTCPNode(t, "a", nil), startTCPNode(t, "b", func(o *link.Options) { o.MaxMessage = 1 << 20 })
	out := a.open(b, strings.Repeat("g", 64<<10))
	in := <-b.opened
	assert.Len(t, in.greeting, 64<<10)
	all := []string{"", strings.Repeat("x", 1<<20), "small", strings.Repeat("y", 1<<20)}
	out.send(t, all)
	assert.Equal(t, all, in.received(len(all)))
	_, err := out.TrySend(make([]byte, 1<<20+1))
	require.ErrorIs(t, err, link.ErrTooLarge)
	_, err = a.Open(b.self, make([]byte, 64<<10+1), 0, newRecorder(true))
	require.ErrorIs(t, err, link.ErrTooLarge)
	require.ErrorIs(t, out.End(make([]byte, 1<<10+1)), link.ErrTooLarge)
}

func TestResetAndRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a := startNode(t, n, "a", 1, nil)
		sent := make(chan struct{})
		b := startNode(t, n, "b", 1, func(o *link.Options) {
			accept := o.Accept
			o.Accept = func(from link.Peer, ch *link.Channel, greeting []byte) link.Receiver {
				switch string(greeting) {
				case "refuse":
					return nil
				case "explain":
					<-sent
					ch.Reset(404, []byte("no such object"))
					return nil
				}
				return accept(from, ch, greeting)
			}
		})
		var reset *link.ResetError
		refused := a.open(b, "refuse")
		require.ErrorAs(t, refused.failure(), &reset)
		assert.Equal(t, link.CodeRefused, reset.Code)

		explained := a.open(b, "explain")
		explained.send(t, []string{"one", "two"})
		close(sent)
		require.ErrorAs(t, explained.failure(), &reset)
		assert.Equal(t, uint16(404), reset.Code)
		assert.Equal(t, "no such object", string(reset.Reason))
		var unconsumed []string
		for seq, p := range explained.Unconsumed() {
			assert.Equal(t, uint64(len(unconsumed)+1), seq)
			unconsumed = append(unconsumed, string(p))
		}
		assert.Equal(t, []string{"one", "two"}, unconsumed, "what must be sent to another node")

		out := a.open(b, "accept")
		in := <-b.opened
		out.Reset(500, []byte("bye"))
		out.Reset(501, []byte("twice"))
		require.ErrorAs(t, in.failure(), &reset)
		assert.Equal(t, uint16(500), reset.Code)
		synctest.Wait()
		assert.False(t, out.closed, "Closed is not called after Reset")
	})
}

// A channel that takes over from another one goes on with its sequences.
func TestFirstSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		a, b := startNode(t, n, "a", 1, nil), startNode(t, n, "b", 1, nil)
		for _, first := range []uint64{0, 1, 1000, 1<<32 - 2, 1<<63 - 2, 1<<64 - 2} {
			r := newRecorder(true)
			ch, err := a.Open(b.self, nil, first, r)
			require.NoError(t, err)
			var seqs []uint64
			for range 5 {
				seq, err := ch.Send(t.Context(), nil)
				require.NoError(t, err)
				seqs = append(seqs, seq)
			}
			in := <-b.opened
			in.received(5)
			assert.Equal(t, seqs, in.seqs)
			assert.Equal(t, max(first, 1), seqs[0])
		}
	})
}
