package edgews

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews/internal/park"
)

// HubOptions configures a hub. A nil pointer means the zero value, which limits nothing.
type HubOptions struct {
	// Options apply to sockets that the hub upgrades with nil options.
	Options

	// MaxSockets and MaxPerKey bound how many sockets the hub has at a time, in all and for each Key; 0 means no bound. A request to upgrade beyond
	// MaxSockets is answered with 503, and one beyond MaxPerKey with 429, both with Retry-After and before the handshake. Requests that are being
	// upgraded count. Sockets that Add has brought count in MaxSockets, but for no key.
	MaxSockets, MaxPerKey int

	// Key says for whom the connection of a request counts: a user, or an address. "" means that it counts for no key, but in MaxSockets. If Key
	// is nil, it is the address of the client, without the port, in Request.RemoteAddr: behind a proxy that is the proxy's. It is called only if
	// MaxPerKey is set, by several goroutines at a time.
	Key func(*http.Request) string

	// MaxLifetime is how long a socket may be in the hub; 0 means for ever. It is then closed with 1001 (going away) and the reason "maximum
	// lifetime reached". The time of each socket is shorter by a random 3 to 10 percent, so that clients do not connect again all at once.
	MaxLifetime time.Duration

	// IdleTimeout is how long a socket may get no message; 0 means for ever. It is then closed with IdleCode and the reason "idle timeout", up to 3
	// percent later. What is sent to the peer does not count, nor do pings and pongs, of which keep-alive takes care; a part of a message of
	// more than 64 KiB does. The time begins when the socket is accepted or added to the hub, when a message arrives, when a receive method
	// takes it, and when the listener or the object's handler that gets it returns. It does not run while one of them runs, nor while
	// messages wait to be received or handled. More than 24 days count as 24 days. A socket that is not accepted within IdleTimeout is closed as well.
	IdleTimeout time.Duration

	// IdleCode is the code with which IdleTimeout closes sockets. The default is 4408, after HTTP's 408 Request Timeout. StatusGoingAway, 1001, is
	// for clients that take codes of applications for errors.
	IdleCode StatusCode

	// ShutdownWindow is over how long Shutdown spreads the closing of sockets, so that not all clients connect again in the same moment. The
	// default is 1 s, and half the time until the deadline of its ctx is the most; negative means that all are closed at once.
	ShutdownWindow time.Duration

	// ShutdownCode is the code with which Shutdown closes sockets: by default StatusServiceRestart, 1012. See NamespaceOptions.ShutdownCode.
	ShutdownCode StatusCode
}

// limits returns the limits on the sockets of the hub.
func (o *HubOptions) limits() limits {
	return limits{o.MaxSockets, o.MaxPerKey, o.Key, o.MaxLifetime, o.IdleTimeout, o.IdleCode}
}

// check returns why a value can never work, or nil.
func (o *HubOptions) check() error {
	if o.ShutdownCode != 0 && !sendable(o.ShutdownCode) {
		return fmt.Errorf("HubOptions.ShutdownCode: %d may not be sent; use 1000 to 4999 except 1004, 1005, 1006 and 1015", uint16(o.ShutdownCode))
	}
	l := o.limits()
	if err := l.validate("HubOptions"); err != nil {
		return err
	}
	return o.Options.validate("HubOptions")
}

// Hub keeps the open sockets of a server that has no objects: to send to all of them or to those with some tags, to count and to limit them,
// and to close them when the server stops. A socket that ends leaves the hub before Done is closed, however it is used: with listeners, with the
// receive methods, or by an object.
//
// Beyond the socket, a hub needs at most 40 bytes for each socket, and no goroutine. Tags and keys (MaxPerKey) need more: a socket that has any
// about 100 bytes, each tag of a socket about 30, and each different key about 50.
//
// All methods may be called from any goroutine, and from listeners. A socket may be in several hubs.
type Hub struct {
	opts HubOptions // immutable
	*roster

	shutdownDone chan struct{} // closed when Shutdown has returned
}

// NewHub returns a hub. A nil opts means the zero HubOptions. NewHub panics if an option can never work.
func NewHub(opts *HubOptions) *Hub {
	h := &Hub{shutdownDone: make(chan struct{})}
	if opts != nil {
		h.opts = *opts
	}
	if err := h.opts.check(); err != nil {
		panic("edgews: NewHub: " + err.Error())
	}
	setDefault(&h.opts.ShutdownWindow, closeSpread)
	setDefault(&h.opts.ShutdownCode, StatusServiceRestart)
	h.roster = newRoster(h.opts.limits(), h.opts.ShutdownCode)
	return h
}

// Upgrade is the function [Upgrade] for a socket that is in the hub from then on, with those tags. With nil opts, HubOptions.Options apply; other
// opts apply alone.
//
// A request beyond MaxSockets is refused with 503, one beyond MaxPerKey with 429, and every one after Shutdown has begun with 503. The
// [*HandshakeError] then wraps ErrConnectionLimit or ErrHubShutdown. The limits are asked when everything else is right, and before the
// handshake; concurrent requests do not exceed them.
//
// A socket may carry any number of tags; repetitions are dropped, and "" is a tag. The tags are copied.
func (h *Hub) Upgrade(w http.ResponseWriter, r *http.Request, opts *UpgradeOptions, tags ...string) (*Socket, error) {
	var o UpgradeOptions
	if opts != nil {
		o = *opts
	} else {
		o.Options = h.opts.Options
	}
	o.roster = h.roster
	refused := h.awaitHandler(r.Context()) // before the socket exists, whose end Shutdown could see otherwise
	s, err := Upgrade(w, r, &o)
	if err != nil {
		refused()
		return nil, err
	}
	if len(tags) > 0 {
		_ = h.SetTags(s, tags...) // an error means that the socket has ended
	}
	return s, nil
}

// Add puts a socket into the hub that was made in another way, accepted or not, with those tags, as in Upgrade: one of Dial or NewWebSocket, an end
// of a pair, or one of the function Upgrade. Its options stay as they are. MaxLifetime begins now.
//
// With an error the socket is as it was, and not in the hub: ErrInHub if it is there already, ErrConnectionLimit beyond MaxSockets,
// ErrHubShutdown after Shutdown has begun, ErrClosed for a socket that has ended, and ErrUsed for one that was given to Respond.
func (h *Hub) Add(s *Socket, tags ...string) error {
	if s == nil {
		return fmt.Errorf("edgews: Hub.Add of a nil *Socket")
	}
	return h.add(s, distinctTags(tags))
}

// Remove takes a socket out of the hub, which no longer limits or closes it. The socket stays open. It reports whether the socket was in the hub.
func (h *Hub) Remove(s *Socket) bool { return h.remove(s) }

// SetTags replaces all tags of a socket; without tags it removes them. The error is ErrNotInHub.
func (h *Hub) SetTags(s *Socket, tags ...string) error {
	tags = distinctTags(tags)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.members.Get(s) == nil {
		return ErrNotInHub
	}
	h.tagLocked(s, tags)
	return nil
}

// Tags returns the tags of a socket, in the order in which they were given. The slice is the caller's. The error is ErrNotInHub.
func (h *Hub) Tags(s *Socket) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.members.Get(s) == nil {
		return nil, ErrNotInHub
	}
	return slices.Clone(h.details[s].tags), nil
}

// Len returns how many sockets are in the hub. Sockets that are closing count until they have ended.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.members.Len()
}

// Sockets returns an iterator over the sockets that are in the hub when the loop begins, those that joined first first; with tags, over those that
// carry all of them. The loop may do anything, also to the hub and its sockets; some of the sockets may have ended when it gets to them.
func (h *Hub) Sockets(tags ...string) iter.Seq[*Socket] {
	return func(yield func(*Socket) bool) {
		found := h.find(tags)
		defer forget(found)
		for _, s := range *found {
			if !yield(s) {
				return
			}
		}
	}
}

// Broadcast sends m to all sockets; with tags, to those that carry all of them. It returns how many have queued it. It never waits: for a socket
// without room its Overflow decides, and a socket that is closing or not accepted does not take it. m is encoded, and compressed, once for
// all. Two broadcasts from one goroutine arrive in that order.
func (h *Hub) Broadcast(m *Prepared, tags ...string) (took int) {
	if m.check() != nil {
		return 0
	}
	found := h.find(tags)
	defer forget(found)
	b := park.NewBatch()
	defer b.Close()
	for _, s := range *found {
		if s.sendPreparedIn(b, m, true) == nil {
			took++
		}
	}
	return took
}

// foundSockets has slices for find, so that a broadcast leaves no garbage.
var foundSockets = sync.Pool{New: func() any { return new([]*Socket) }}

// find returns the sockets that carry all tags. The caller gives them back with forget.
func (h *Hub) find(tags []string) *[]*Socket {
	found := foundSockets.Get().(*[]*Socket)
	h.mu.Lock()
	defer h.mu.Unlock()
	*found = h.appendMembersLocked(*found, tags)
	return found
}

func forget(found *[]*Socket) {
	clear(*found)
	*found = (*found)[:0]
	foundSockets.Put(found)
}

// awaitHandler has Shutdown wait until the handler returns that upgrades a request with that context, or refused is called. net/http cancels the
// context when the handler returns; of other servers nothing is known.
func (h *Hub) awaitHandler(ctx context.Context) (refused func()) {
	if ctx.Value(http.ServerContextKey) == nil || ctx.Done() == nil {
		return func() {}
	}
	h.mu.Lock()
	h.handlers++
	h.mu.Unlock()
	stop := context.AfterFunc(ctx, h.handlerReturned)
	return func() {
		if stop() {
			h.handlerReturned()
		}
	}
}

func (h *Hub) handlerReturned() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers--
	h.checkQuietLocked()
}
