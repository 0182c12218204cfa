package handshake

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// Keeper holds the goroutine of a handler for the stream that the handler has taken: net/http's HTTP/2 server ends a stream when the
// handler returns. The contexts of requests carry it.
type Keeper struct {
	// Immutable. The context, the body and the address are those of the request that the outermost Keeper has got: middleware may replace them.
	outer  *Keeper // waits instead of this one; nil: there is none
	ctx    context.Context
	body   io.ReadCloser
	remote string // the client's address
	onTake func() // called when a stream is taken; nil: nothing

	mu sync.Mutex
	// Guarded by mu.
	stream   *Stream // nil: none was taken
	returned bool    // the handler has returned: no stream can be taken any more
}

type keeperKey struct{}

// WithKeeper returns r with a new Keeper, whose Return must be called when the handler of r has returned. onTake, if it is not nil, is called
// when a stream is taken.
func WithKeeper(r *http.Request, onTake func()) (*http.Request, *Keeper) {
	k := &Keeper{outer: keeperOf(r.Context()), ctx: r.Context(), body: r.Body, remote: r.RemoteAddr, onTake: onTake}
	if k.outer != nil {
		k.ctx, k.body, k.remote = k.outer.ctx, k.outer.body, k.outer.remote
	}
	kept := r.WithContext(context.WithValue(r.Context(), keeperKey{}, k))
	if k.outer == nil {
		kept.Body = keptBody{k}
	}
	return kept, k
}

// keptBody is the body of a request for a handler whose stream a Keeper keeps. As over HTTP/1.1, where a handshake has no body, the handler
// cannot end the socket with it, for example by closing it on its return.
type keptBody struct{ k *Keeper }

func (b keptBody) Read(p []byte) (int, error) {
	if b.k.taken() != nil {
		return 0, io.EOF
	}
	return b.k.body.Read(p)
}

// Close does nothing: net/http closes the body when the handler has returned.
func (keptBody) Close() error { return nil }

// keeperOf returns the innermost Keeper of a request's context, or nil.
func keeperOf(ctx context.Context) *Keeper {
	k, _ := ctx.Value(keeperKey{}).(*Keeper)
	return k
}

// take gives s to the Keeper and to those around it. It returns false, and none gets s, if one of their handlers has returned.
func (k *Keeper) take(s *Stream) bool {
	if !k.keep(s) {
		return false
	}
	for ; k != nil; k = k.outer {
		if k.onTake != nil {
			k.onTake()
		}
	}
	return true
}

// keep is take without the calls of onTake. An inner mutex is locked before an outer one.
func (k *Keeper) keep(s *Stream) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.returned || k.outer != nil && !k.outer.keep(s) {
		return false
	}
	k.stream = s
	return true
}

// Return is called when the handler has returned. It waits until the stream that was taken, if any, has ended and nothing uses its
// ResponseWriter any more, or leaves that to an outer Keeper.
func (k *Keeper) Return() {
	s := k.handlerReturned()
	if s == nil || k.outer != nil {
		return
	}
	select {
	case <-s.finished:
	case <-s.ctx.Done(): // the peer has reset the stream, or the connection is lost
		_ = s.CloseWrite()
	}
	s.users.Wait()
}

// handlerReturned lets no more streams be taken, and returns the one that was taken, or nil.
func (k *Keeper) handlerReturned() *Stream {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.returned = true
	return k.stream
}

// KeepStreams returns a handler that calls h and then waits for the stream that h has taken. As over HTTP/1.1, the context of the request ends when
// h returns. If h panics, the stream ends.
func KeepStreams(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !IsExtendedConnect(r) {
			h.ServeHTTP(w, r)
			return
		}
		kept, k := WithKeeper(r, nil)
		ctx, cancel := context.WithCancel(kept.Context())
		returned := false
		defer func() {
			cancel()
			if !returned {
				k.abort()
			}
			k.Return()
		}()
		h.ServeHTTP(&keptWriter{w, k}, kept.WithContext(ctx))
		returned = true
	})
}

// taken returns the stream that was taken, or nil.
func (k *Keeper) taken() *Stream {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stream
}

// abort ends the stream that was taken.
func (k *Keeper) abort() {
	if s := k.taken(); s != nil {
		_ = s.Close()
	}
}

// keptWriter is the ResponseWriter of a handler whose stream a Keeper keeps. When the stream has been taken, it refuses what the handler writes,
// as one of HTTP/1.1 does whose connection was hijacked: middleware may write at its end.
type keptWriter struct {
	http.ResponseWriter
	k *Keeper
}

// Unwrap is for http.ResponseController, and for TakeStream.
func (w *keptWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *keptWriter) WriteHeader(status int) {
	if w.k.taken() == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *keptWriter) Write(p []byte) (int, error) {
	if w.k.taken() != nil {
		return 0, http.ErrHijacked
	}
	return w.ResponseWriter.Write(p)
}

// Flush is http.Flusher, for handlers that do not know http.ResponseController.
func (w *keptWriter) Flush() {
	if w.k.taken() == nil {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
}
