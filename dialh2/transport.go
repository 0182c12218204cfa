package dialh2

//lint:file-ignore SA1019 net/http's Transport, which is to replace that of package http2, refuses the header field :protocol

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"golang.org/x/net/http2"
)

// init makes the transports of package http2.
func (t *Transport) init() {
	t.tls = t.newTransport(t.dialTLS)
	plain := t.newTransport(func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		conn, err := t.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &plainConn{conn, firstSettings{conn: conn}}, nil
	})
	plain.AllowHTTP = true
	t.plain = plain
}

// newTransport returns a transport with the settings of t.
func (t *Transport) newTransport(dial func(ctx context.Context, network, addr string, config *tls.Config) (net.Conn, error)) *http2.Transport {
	c := cmp.Or(t.HTTP2, new(http.HTTP2Config))
	return &http2.Transport{
		DialTLSContext:             dial,
		TLSClientConfig:            t.TLSClientConfig,
		StrictMaxConcurrentStreams: c.StrictMaxConcurrentRequests,
		MaxDecoderHeaderTableSize:  uint32(c.MaxDecoderHeaderTableSize),
		MaxEncoderHeaderTableSize:  uint32(c.MaxEncoderHeaderTableSize),
		MaxReadFrameSize:           uint32(c.MaxReadFrameSize),
		ReadIdleTimeout:            c.SendPingTimeout,
		PingTimeout:                c.PingTimeout,
		WriteByteTimeout:           c.WriteByteTimeout,
		CountError:                 c.CountError,
	}
}

func (t *Transport) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if t.DialContext != nil {
		return t.DialContext(ctx, network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// dialTLS connects with TLS. config is made of TLSClientConfig by package http2 and has the server's name. It offers HTTP/1.1 too, so that a
// server without HTTP/2 says so.
func (t *Transport) dialTLS(ctx context.Context, network, addr string, config *tls.Config) (net.Conn, error) {
	conn, err := t.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.NextProtos = []string{http2.NextProtoTLS, "http/1.1"}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	if secured.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
		secured.Close()
		return nil, errNoHTTP2
	}
	return &tlsConn{secured, firstSettings{conn: secured}}, nil
}
