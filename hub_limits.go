package edgews

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// ErrConnectionLimit: MaxSockets or MaxPerKey connections are open. The message says how many, and which limit there is.
var ErrConnectionLimit = errors.New("edgews: connection limit exceeded")

// limits say how many sockets a roster lists at a time, and for how long.
type limits struct {
	maxSockets, maxPerKey    int // 0: any number
	key                      func(*http.Request) string
	maxLifetime, idleTimeout time.Duration // 0: any time
	idleCode                 StatusCode
}

// maxIdleTimeout leaves room below maxSpan, because sweeps may be late.
const maxIdleTimeout = 24 * 24 * time.Hour

// The closing of sockets whose time is over.
const (
	defaultIdleCode StatusCode = 4408 // 4000 to 4999 are for applications (RFC 6455 §7.4.2); HTTP's 408 is Request Timeout
	idleReason                 = "idle timeout"
	lifetimeReason             = "maximum lifetime reached"
)

// validate returns why a value can never work, or nil. of is the name of the options.
func (l *limits) validate(of string) error {
	switch {
	case l.maxSockets < 0:
		return fmt.Errorf("%s.MaxSockets: %d: it cannot be negative; 0 is no limit", of, l.maxSockets)
	case l.maxPerKey < 0:
		return fmt.Errorf("%s.MaxPerKey: %d: it cannot be negative; 0 is no limit", of, l.maxPerKey)
	case l.maxLifetime < 0:
		return fmt.Errorf("%s.MaxLifetime: %v: it cannot be negative; 0 is no limit", of, l.maxLifetime)
	case l.idleTimeout < 0:
		return fmt.Errorf("%s.IdleTimeout: %v: it cannot be negative; 0 is no limit", of, l.idleTimeout)
	case l.idleCode != 0 && !sendable(l.idleCode):
		return fmt.Errorf("%s.IdleCode: %d may not be sent; use 1000 to 4999 except 1004, 1005, 1006 and 1015", of, uint16(l.idleCode))
	}
	return nil
}

// withDefaults returns l with its defaults filled in.
func (l limits) withDefaults() limits {
	setDefault(&l.idleCode, defaultIdleCode)
	l.idleTimeout = min(l.idleTimeout, maxIdleTimeout)
	if l.key == nil {
		l.key = remoteHost
	}
	return l
}

// unlimited reports whether l limits nothing.
func (l *limits) unlimited() bool {
	return l.maxSockets == 0 && l.maxPerKey == 0 && l.maxLifetime == 0 && l.idleTimeout == 0
}

// remoteHost is the key of a request if the program has no other: the address of the client without its port. A request of Stub.Connect that
// comes from no client has none.
func remoteHost(r *http.Request) string {
	if r.RemoteAddr == pairAddr.String() {
		return ""
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// keyOf returns the key of a request, or "". It calls the program's Key, so no mutex may be held.
func (l *limits) keyOf(r *http.Request) string {
	if l.maxPerKey == 0 {
		return ""
	}
	return strings.Clone(l.key(r)) // it may be a part of a long header
}

// place is one that a roster keeps free for the connection of a request that is being upgraded. It counts as open.
type place struct {
	// Immutable.
	r   *roster
	key string // "": it counts for no key

	state placeState // guarded by r.mu
}

type placeState uint8

const (
	placeOffered placeState = iota // by the Stub of an object, to the handler of the request
	placeTaken                     // a handshake is under way, or a connection is passed through
	placeOver                      // a socket has it, or it is free again
)

// reserve keeps a place for the connection of req, or returns why req has to be refused. A nil roster has no limits: the place is nil.
func (r *roster) reserve(req *http.Request) (*place, *HandshakeError) {
	if r == nil {
		return nil, nil
	}
	p := &place{r: r, key: r.limits.keyOf(req)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if refused := r.refusalLocked(p.key); refused != nil {
		return nil, refused
	}
	r.reserved++
	r.countKeyLocked(p.key, 1)
	return p, nil
}

// refusalLocked returns why a request with that key has to be refused, or nil. mu must be held.
func (r *roster) refusalLocked(key string) *HandshakeError {
	if r.closing {
		return &HandshakeError{StatusCode: http.StatusServiceUnavailable, Detail: shutdownDetail, Err: ErrHubShutdown}
	}
	if open := r.members.Len() + r.reserved; r.limits.maxSockets > 0 && open >= r.limits.maxSockets {
		return overLimit(http.StatusServiceUnavailable, open, r.limits.maxSockets)
	}
	if open := r.openPerKey[key]; key != "" && r.limits.maxPerKey > 0 && open >= r.limits.maxPerKey {
		return overLimit(http.StatusTooManyRequests, open, r.limits.maxPerKey)
	}
	return nil
}

func overLimit(status, open, limit int) *HandshakeError {
	detail := fmt.Sprintf("connection limit exceeded: %d open, the limit is %d", open, limit)
	return &HandshakeError{StatusCode: status, Detail: detail, Err: ErrConnectionLimit}
}

// countKeyLocked counts n more connections of a key. mu must be held.
func (r *roster) countKeyLocked(key string, n int) {
	if key == "" {
		return
	}
	if r.openPerKey == nil {
		r.openPerKey = make(map[string]int)
	}
	if r.openPerKey[key] += n; r.openPerKey[key] == 0 {
		delete(r.openPerKey, key)
	}
}

// take takes p if it is still offered, and a place of r: then the Stub does not withdraw it. It reports whether it has taken p, which may be
// nil.
func (p *place) take(r *roster) bool {
	if p == nil || p.r != r {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.state != placeOffered {
		return false
	}
	p.state = placeTaken
	return true
}

// withdraw frees a place that was not taken. p may be nil.
func (p *place) withdraw() {
	if p != nil && p.take(p.r) {
		p.release()
	}
}

// release frees the place, unless a socket has it.
func (p *place) release() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.endLocked() {
		p.r.countKeyLocked(p.key, -1)
		p.r.checkQuietLocked()
	}
}

// endLocked makes p a place that is no longer reserved. It reports whether it was. r.mu must be held.
func (p *place) endLocked() bool {
	if p.state == placeOver {
		return false
	}
	p.state = placeOver
	p.r.reserved--
	return true
}

// join gives the place to s, which is listed from now on.
func (p *place) join(s *Socket) {
	if late := p.tryJoin(s); late {
		s.acceptAndClose(p.r.shutdownCode, shutdownReason)
	}
}

// tryJoin is join. It reports whether Shutdown has begun meanwhile.
func (p *place) tryJoin(s *Socket) (late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase >= phaseFinished { // Respond was called with a pair whose other end has ended meanwhile
		p.release()
		return false
	}
	s.listLocked(p.r)
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.endLocked()
	if p.r.members.Get(s) != nil { // a socket of Stub.Connect that gets the connection of another request
		p.r.countForLocked(s, p.key)
	} else {
		p.r.insertLocked(s, p.key)
	}
	return p.r.closing
}

// places are those that a request has got: one of the namespace of its object, and one of a hub.
type places []*place

func (all places) release() {
	for _, p := range all {
		p.release()
	}
}

func (all places) join(s *Socket) {
	for _, p := range all {
		p.join(s)
	}
}

// placeContextKey is the key of the place, in the context of a request to an object, that its Stub offers.
type placeContextKey struct{}

// isOfferedTo reports whether the Stub of another object of the namespace of r has offered a place to the handler that passes on a request
// with the context ctx.
func (r *roster) isOfferedTo(ctx context.Context) bool {
	p, _ := ctx.Value(placeContextKey{}).(*place)
	if p == nil || p.r != r {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return p.state == placeOffered
}

// withoutPlace returns ctx for a request that is a connection of its own, and not the one of the event to which ctx belongs.
func withoutPlace(ctx context.Context) context.Context {
	return context.WithValue(ctx, placeContextKey{}, (*place)(nil))
}
