package handshake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"time"
)

// CheckUnanswered returns why no response can be sent on w any more, or nil. Hijack would succeed after WriteHeader, and both responses
// would be sent. net/http does not export whether a response has begun, so the fields of its ResponseWriters are read; nothing is known
// about a ResponseWriter of another package.
func CheckUnanswered(w http.ResponseWriter) *Refusal {
	v := reflect.ValueOf(innermost(w))
	if v.Kind() != reflect.Pointer || v.IsNil() || !isPackageOfHTTP(v.Type().Elem().PkgPath()) {
		return nil
	}
	switch v = v.Elem(); {
	case boolField(v, "wroteHeader"), boolField(v, "rws", "wroteHeader"): // of HTTP/1.1 and HTTP/2
		return &Refusal{Detail: "the answer has begun already: call Upgrade before WriteHeader and Write"}
	case boolField(v, "conn", "hijackedv"):
		return &Refusal{Detail: "the connection was taken over already", Err: http.ErrHijacked}
	}
	return nil
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
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, hijackRefusal(w, err)
	}
	// Server.ReadTimeout and WriteTimeout may have left deadlines. A connection that cannot clear them is
	// dead, and the first write will say so.
	_ = conn.SetDeadline(time.Time{})
	if rw != nil {
		buffered = readAhead(rw.Reader)
	}
	return conn, buffered, nil
}

// readAhead copies what r has buffered, so that its buffer is not kept for a few bytes.
func readAhead(r *bufio.Reader) []byte {
	if r == nil || r.Buffered() == 0 {
		return nil
	}
	ahead, _ := r.Peek(r.Buffered())
	return bytes.Clone(ahead)
}

// hijackRefusal says why w does not give up its connection.
func hijackRefusal(w http.ResponseWriter, err error) *Refusal {
	if !errors.Is(err, http.ErrNotSupported) {
		return &Refusal{Status: http.StatusInternalServerError, Detail: "cannot take the connection over", Err: err}
	}
	return &Refusal{
		Status: http.StatusInternalServerError,
		Detail: fmt.Sprintf("%T cannot hand over its connection: if it wraps another ResponseWriter, add Unwrap() http.ResponseWriter to it, or keep it off this route",
			innermost(w)),
		Err: err,
	}
}

// innermost unwraps w as far as its wrappers have an Unwrap method.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}
