package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"time"
)

// security makes connections safe, or refuses them.
type security struct {
	server, client *tls.Config // nil: plain
	secret         []byte
}

func newSecurity(o *Options) (*security, error) {
	s := &security{secret: o.Secret}
	switch {
	case o.TLS != nil:
		s.server, s.client = o.TLS.Clone(), o.TLS.Clone()
		if len(o.Secret) == 0 {
			s.server.ClientAuth = tls.RequireAndVerifyClientCert
		}
	case len(o.Secret) > 0:
		certificate, err := ownCertificate()
		if err != nil {
			return nil, fmt.Errorf("edgews: link: a certificate for encryption: %w", err)
		}
		s.server = &tls.Config{Certificates: []tls.Certificate{certificate}}
		// The certificate says nothing about the peer: the proof that it knows the secret does, and covers this very connection.
		s.client = &tls.Config{InsecureSkipVerify: true}
	default:
		return s, nil
	}
	s.server.MinVersion, s.client.MinVersion = tls.VersionTLS13, tls.VersionTLS13
	return s, nil
}

// ownCertificate makes a certificate that signs itself.
func ownCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, section 4.1.2.5: has no expiry
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// plain reports whether connections are neither encrypted nor authenticated.
func (s *security) plain() bool { return s.server == nil }

// checkAddr refuses a host:port that is certainly not on loopback, when connections are plain. A host name is checked once it is connected.
func (s *security) checkAddr(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	if ip := net.ParseIP(host); s.plain() && ip != nil && !ip.IsLoopback() {
		return fmt.Errorf("%w: %s", ErrInsecure, addr)
	}
	return nil
}

// checkConn refuses a plain connection whose ends are not both on this machine.
func (s *security) checkConn(c net.Conn) error {
	for _, a := range []net.Addr{c.LocalAddr(), c.RemoteAddr()} {
		if s.plain() && !local(a) {
			return fmt.Errorf("%w: %v", ErrInsecure, a)
		}
	}
	return nil
}

// local reports whether an address can be reached from this machine only.
func local(a net.Addr) bool {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.IP.IsLoopback()
	}
	return a != nil && (a.Network() == "pipe" || a.Network() == "unix")
}

// exporterLabel names the key that the proofs cover (RFC 9266 uses the same mechanism).
const exporterLabel = "EXPERIMENTAL edgews link"

// protect does the TLS handshake of a connection, if there is TLS. addr is the peer's, on the dialling end.
func (s *security) protect(ctx context.Context, c net.Conn, dialer bool, addr string) (*handshake, error) {
	if _, isOwn := c.(selfConn); isOwn {
		return &handshake{Conn: c, secret: s.secret}, nil
	}
	if err := s.checkConn(c); err != nil {
		return nil, err
	}
	h := &handshake{Conn: c, secret: s.secret}
	if s.plain() {
		return h, nil
	}
	var t *tls.Conn
	if dialer {
		config := s.client
		if config.ServerName == "" {
			config = config.Clone()
			config.ServerName, _, _ = net.SplitHostPort(addr)
		}
		t = tls.Client(c, config)
	} else {
		t = tls.Server(c, s.server)
	}
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	state := t.ConnectionState()
	exporter, err := state.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		return nil, err
	}
	h.Conn, h.exporter = t, exporter
	return h, nil
}
