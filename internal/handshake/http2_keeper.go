package handshake

import (
	"context"
	"net/http"
	"sync"
)

// Keeper holds the goroutine of a handler for the stream that the handler has taken: net/http's HTTP/2 server ends a stream when the
// handler returns. The contexts of requests carry it.
type Keeper struct {
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
	k := &Keeper{onTake: onTake}
	return r.WithContext(context.WithValue(r.Context(), keeperKey{}, k)), k
}

// keeperOf returns the innermost Keeper of a request's context, or nil.
func keeperOf(ctx context.Context) *Keeper {
	k, _ := ctx.Value(keeperKey{}).(*Keeper)
	return k
}

// take gives s to the Keeper. It returns false if the handler has returned.
func (k *Keeper) take(s *Stream) bool {
	k.mu.Lock()
	taken := !k.returned
	if taken {
		k.stream = s
	}
	k.mu.Unlock()
	if taken && k.onTake != nil {
		k.onTake()
	}
	return taken
}

// Return is called when the handler of r, the request that WithKeeper has got, has returned. It waits until the stream that was taken, if any,
// has ended and nothing uses its ResponseWriter any more, or leaves that to the outer Keeper, if r has one.
func (k *Keeper) Return(r *http.Request) {
	k.mu.Lock()
	k.returned = true
	s := k.stream
	k.mu.Unlock()
	if s == nil {
		return
	}
	if outer := keeperOf(r.Context()); outer != nil && outer.take(s) {
		return
	}
	select {
	case <-s.finished:
	case <-s.ctx.Done(): // the peer has reset the stream, or the connection is lost
		_ = s.CloseWrite()
	}
	s.users.Wait()
}

// KeepStreams returns a handler that calls h and then waits for the stream that h has taken. If h panics, it ends the stream.
func KeepStreams(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !IsExtendedConnect(r) {
			h.ServeHTTP(w, r)
			return
		}
		kept, k := WithKeeper(r, nil)
		returned := false
		defer func() {
			if !returned {
				k.abort()
			}
			k.Return(r)
		}()
		h.ServeHTTP(w, kept)
		returned = true
	})
}

// abort ends the stream that was taken.
func (k *Keeper) abort() {
	k.mu.Lock()
	s := k.stream
	k.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
}
