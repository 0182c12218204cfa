package edgews

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// UpgradeConn is [Upgrade] for servers that are not net/http: conn is the connection on which the request r has arrived, and buffered is what
// the server has read from it behind r, which may be empty. The checks, the options, the answers, the errors and the socket are those of
// Upgrade. A nil opts is the zero UpgradeOptions.
//
// Conn belongs to edgews from the call on, whatever UpgradeConn returns. If it returns an error, it has sent the answer and closes conn half a
// second later, when the client has read it: the server stops using conn and need not close it. Deadlines of conn are removed.
// Give the innermost connection that carries the bytes of HTTP: a [*net.TCPConn], a [*net.UnixConn] and a [*tls.Conn] over them wait on the
// event loop, while each connection of another type needs a goroutine.
//
// Of r, UpgradeConn uses the method, the version, Host, the header, ContentLength, TransferEncoding and the context, if they are as
// net/http's server sets them: the Host header is in r.Host. The path of r.URL, which may be nil, is for [Socket.Info] and logs. Neither r nor buffered is kept, so a server may use their memory again when
// UpgradeConn has returned.
func UpgradeConn(conn net.Conn, buffered []byte, r *http.Request, opts *UpgradeOptions) (*Socket, error) {
	if conn == nil {
		return nil, errors.New("edgews: UpgradeConn was called without a connection: conn is nil")
	}
	w := &connWriter{conn: conn, buffered: buffered, minor: 1, header: make(http.Header)}
	s, err := w.upgrade(r, opts)
	if err != nil {
		w.refuse()
	}
	return s, err
}

// connWriter is the ResponseWriter of UpgradeConn. It gives up its connection, or collects the answer to a request that is refused.
type connWriter struct {
	conn     net.Conn
	buffered []byte
	minor    int // of the version of HTTP/1 in the answer
	hijacked bool

	header http.Header
	status int // 0: no answer
	body   bytes.Buffer
}

func (w *connWriter) upgrade(r *http.Request, opts *UpgradeOptions) (*Socket, error) {
	var refused *HandshakeError
	switch {
	case r == nil:
		r = &http.Request{ProtoMajor: 1, ProtoMinor: 1}
		refused = &HandshakeError{StatusCode: http.StatusInternalServerError, Detail: "the server has called UpgradeConn without a request: r is nil"}
	case r.Proto == "" && r.ProtoMajor == 0 && r.ProtoMinor == 0:
		refused = &HandshakeError{StatusCode: http.StatusInternalServerError, Detail: "the server has called UpgradeConn with a request that has no version: set Proto, ProtoMajor and ProtoMinor"}
	case r.ProtoMajor > 1:
		refused = &HandshakeError{StatusCode: http.StatusHTTPVersionNotSupported, Detail: "the connection has to speak HTTP/1.1, but the request is " + r.Proto}
	case r.Host == "" && r.ProtoMajor == 1: // RFC 6455 §4.2.1, RFC 9112 §3.2
		refused = &HandshakeError{StatusCode: http.StatusBadRequest, Detail: "the request has no Host, which a server has to put into Request.Host"}
	}
	if r.ProtoMajor == 1 {
		w.minor = min(r.ProtoMinor, 1)
	}
	if refused != nil {
		return nil, refuse(w, r, refused)
	}
	return Upgrade(w, r, opts)
}

// Hijack gives the connection up.
func (w *connWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	if len(w.buffered) == 0 {
		return w.conn, nil, nil
	}
	ahead := bufio.NewReaderSize(bytes.NewReader(w.buffered), len(w.buffered))
	_, err := ahead.Peek(len(w.buffered))
	return w.conn, bufio.NewReadWriter(ahead, nil), err
}

func (w *connWriter) Header() http.Header         { return w.header }
func (w *connWriter) WriteHeader(status int)      { w.status = status }
func (w *connWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// refusalLinger is how long a connection stays open behind a refusal. If it were closed with unread bytes, as of a client that has sent
// frames already, TCP would reset it, and the refusal might be lost. net/http's server waits for as long.
const refusalLinger = 500 * time.Millisecond

// refuse sends the answer that w has collected, and closes the connection.
func (w *connWriter) refuse() {
	if w.hijacked { // Upgrade has closed it
		return
	}
	if w.status == 0 {
		w.conn.Close()
		return
	}
	_ = w.conn.SetDeadline(time.Time{})
	if writeResponse(w.conn, w.answer(), defaultWriteTimeout) != nil {
		w.conn.Close()
		return
	}
	if half, ok := w.conn.(interface{ CloseWrite() error }); ok {
		_ = w.conn.SetWriteDeadline(time.Now().Add(refusalLinger)) // over TLS it writes
		_ = half.CloseWrite()
	}
	time.AfterFunc(refusalLinger, func() { w.conn.Close() })
}

// answer returns the collected answer as it is sent.
func (w *connWriter) answer() []byte {
	w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat)) // RFC 9110 §6.6.1
	if w.header.Get("Connection") == "" {
		w.header.Set("Connection", "close")
	}
	resp := http.Response{
		StatusCode: w.status, ProtoMajor: 1, ProtoMinor: w.minor, Header: w.header,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}
	var b bytes.Buffer
	_ = resp.Write(&b) // a Buffer takes everything
	return b.Bytes()
}
