package handshake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"time"
)

// CheckUnanswered returns why no response can be sent on w any more, or nil. Hijack would succeed after WriteHeader, and both responses
// would be sent. net/http does not export whether a response has begun, so the fields of its ResponseWriters are read; nothing is known
// about a ResponseWriter of another package.
func CheckUnanswered(w http.ResponseWriter) *Refusal {
	inner := innermost(w)
	if s, ok := inner.(ResponseState); ok {
		return checkState(s)
	}
	v := reflect.ValueOf(inner)
	if v.Kind() != reflect.Pointer || v.IsNil() || !isPackageOfHTTP(v.Type().Elem().PkgPath()) {
		return nil
	}
	switch v = v.Elem(); {
	case boolField(v, "wroteHeader"), boolField(v, "rws", "wroteHeader"): // of HTTP/1.1 and HTTP/2
		return refusedBegun()
	case boolField(v, "conn", "hijackedv"):
		return refusedHijacked()
	}
	return nil
}

// ResponseState is implemented by a ResponseWriter that says whether a response has begun.
type ResponseState interface {
	ResponseState() (begun, hijacked bool)
}

func checkState(s ResponseState) *Refusal {
	switch begun, hijacked := s.ResponseState(); {
	case begun:
		return refusedBegun()
	case hijacked:
		return refusedHijacked()
	}
	return nil
}

func refusedBegun() *Refusal {
	return &Refusal{Detail: "the answer has begun already: call Upgrade before WriteHeader and Write"}
}

func refusedHijacked() *Refusal {
	return &Refusal{Detail: "the connection was taken over already", Err: http.ErrHijacked}
}

func isPackageOfHTTP(path string) bool { return path == "net/http" || path == "net/http/httptest" }

// boolField returns the bool at a path of fields, in structs and pointers to structs, or false if there is none.
func boolField(v reflect.Value, path ...string) bool {
	for _, name := range path {
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return false
		}
		v = v.FieldByName(name)
	}
	return v.Kind() == reflect.Bool && v.Bool()
}

// Hijack takes the connection over from a server, through all wrappers of w that have an Unwrap method. buffered is what net/http has
// read from the connection behind the request; the caller owns it. The buffers and the request of net/http are left to the garbage
// collector.
func Hijack(w http.ResponseWriter) (conn net.Conn, buffered []byte, refused *Refusal) {
	if inner := innermost(w); !canHijack(inner) { // a Hijack that fails may leave a wrapper unable to answer, so none is called
		return nil, nil, notHijackable(inner)
	}
	conn, buffered, err := Detach(w)
	if err == nil {
		return conn, buffered, nil
	}
	var rw *bufio.ReadWriter
	if errors.Is(err, http.ErrNotSupported) {
		conn, rw, err = takeOver(w)
	}
	if err != nil {
		return nil, nil, &Refusal{Status: http.StatusInternalServerError, Detail: "cannot take the connection over", Err: err}
	}
	// Server.ReadTimeout and WriteTimeout may have left deadlines. A connection that cannot clear them is
	// dead, and the first write will say so.
	_ = conn.SetDeadline(time.Time{})
	if rw != nil {
		buffered = readAhead(rw.Reader)
	}
	if p, ok := conn.(Prefixed); ok {
		below, prefix := p.TakeConn()
		return below, append(buffered, prefix...), nil
	}
	return conn, buffered, nil
}

func canHijack(w http.ResponseWriter) bool {
	_, ok := w.(http.Hijacker)
	return ok
}

// takeOver hijacks w or, if that fails, the nearest ResponseWriter below it that can be hijacked. http.ResponseController would give up with
// the first that has a Hijack method. But that of many wrappers asks only whether the writer directly below has one too, and fails if that
// has Unwrap instead. The error is that of the outermost.
func takeOver(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
	var failed error = http.ErrNotSupported
	for ok := true; ok; w, ok = unwrap(w) {
		h, is := w.(http.Hijacker)
		if !is {
			continue
		}
		conn, rw, err := hijack(h)
		if err == nil || errors.Is(err, http.ErrHijacked) {
			return conn, rw, err
		}
		if failed == http.ErrNotSupported {
			failed = err
		}
	}
	return nil, nil, failed
}

// hijack calls h.Hijack. The wrappers of some frameworks panic there if the writer below them has no such method.
func hijack(h http.Hijacker) (conn net.Conn, rw *bufio.ReadWriter, err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case *runtime.TypeAssertionError:
			conn, rw, err = nil, nil, fmt.Errorf("%T.Hijack: %w", h, v)
		default:
			panic(v)
		}
	}()
	conn, rw, err = h.Hijack()
	if conn == nil && err == nil {
		err = fmt.Errorf("%T.Hijack has returned no connection", h)
	}
	return conn, rw, err
}

// Detacher is implemented by a ResponseWriter that hands over its connection without the buffers and the *net.TCPConn that Hijack
// returns. The connection has no deadlines. If it has to be hijacked, the error is http.ErrNotSupported.
type Detacher interface {
	DetachConn() (conn net.Conn, buffered []byte, err error)
}

// Detach calls DetachConn of w, or of the ResponseWriter that it wraps, if no wrapper has a Hijack method of its own. Otherwise the error
// is http.ErrNotSupported.
func Detach(w http.ResponseWriter) (conn net.Conn, buffered []byte, err error) {
	if d, ok := hijacker(w).(Detacher); ok {
		return d.DetachConn()
	}
	return nil, nil, http.ErrNotSupported
}

// Prefixed is implemented by a connection that returns some bytes before those of another connection. TakeConn returns both; only the
// other connection may be used afterwards.
type Prefixed interface {
	TakeConn() (conn net.Conn, prefix []byte)
}

// hijacker returns the first ResponseWriter, from w inwards, that has a Hijack method, or nil.
func hijacker(w http.ResponseWriter) http.Hijacker {
	for ok := true; ok; w, ok = unwrap(w) {
		if h, is := w.(http.Hijacker); is {
			return h
		}
	}
	return nil
}

// readAhead copies what r has buffered, so that its buffer is not kept for a few bytes.
func readAhead(r *bufio.Reader) []byte {
	if r == nil || r.Buffered() == 0 {
		return nil
	}
	ahead, _ := r.Peek(r.Buffered())
	return bytes.Clone(ahead)
}

// notHijackable says what the program can do about w, which has no connection to give up.
func notHijackable(w http.ResponseWriter) *Refusal {
	detail := "%T cannot hand over its connection: if it wraps another ResponseWriter, add Unwrap() http.ResponseWriter to it, or keep it off this route"
	if fmt.Sprintf("%T", w) == "*http.timeoutWriter" {
		detail = "http.TimeoutHandler (%T) cannot hand over the connection: wrap the handlers of the other routes in it, and not this one"
	}
	return &Refusal{Status: http.StatusInternalServerError, Detail: fmt.Sprintf(detail, w), Err: http.ErrNotSupported}
}

// innermost unwraps w as far as its wrappers have an Unwrap method.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		below, ok := unwrap(w)
		if !ok {
			return w
		}
		w = below
	}
}

// unwrap returns the ResponseWriter below w. ok is false if w does not tell it.
func unwrap(w http.ResponseWriter) (below http.ResponseWriter, ok bool) {
	u, ok := w.(interface{ Unwrap() http.ResponseWriter })
	if !ok {
		return nil, false
	}
	below = u.Unwrap()
	return below, below != nil
}
