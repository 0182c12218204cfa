package edgews

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/handshake"
	"github.com/edgews/edgews/internal/park"
	"github.com/edgews/edgews/internal/tunnel"
)

// isDialed reports whether s is a client's end of a connection, as of Dial.
func (s *Socket) isDialed() bool {
	if s == nil {
		return false
	}
	w, ok := s.currentLink().(*wire)
	return ok && w.client
}

// respondWithDialed is Respond for a socket of Dial. The bytes of both connections are forwarded as they are. If the client has not offered
// the compression that was agreed with the server, that is not possible: then the messages are relayed, in goroutines that keep no object
// awake.
func respondWithDialed(w http.ResponseWriter, r *http.Request, dialed *Socket, opts *UpgradeOptions) error {
	if err := dialed.untouched(); err != nil {
		return refuseClient(w, r, opts, err)
	}
	r, returned := keepStream(r)
	defer returned()
	opts = opts.orDefault(r)
	answer, same := handshake.PassOnAgreed(r.Header, dialed.Protocol(), dialed.Extensions())
	c, err := upgradeWith(w, r, opts, func(o *Options) *handshake.Response {
		if !same {
			agreed := handshake.Respond(r.Header, nil, o.Compression.want())
			agreed.Protocol = answer.Protocol
			return agreed
		}
		return answer
	})
	if err != nil {
		opts.tellRefusal(r, err)
		dialed.giveUp()
		return err
	}
	defer c.pass.release()
	conn, early, err := dialed.takeConn()
	if err != nil { // another goroutine has used it in the meantime
		_ = c.conn.Close()
		c.places.release()
		return err
	}
	admission{meter: c.meter, object: c.object}.countPassThrough()
	up := wireConfig{conn: conn, buffered: early, client: true, opts: dialed.options(), deflate: agreedParams(dialed), url: dialed.URL(), extensions: dialed.Extensions()}
	if asked, ok := c.conn.(*connectConn); ok {
		up.protocol = dialed.Protocol()
		return asked.giveConn(up, c.places)
	}
	if same {
		t := c.places.releasedBy(loggedTunnel(newTunnelOptions(c.opts, 0), c.opts.Logger, r))
		t = observePassThrough(t, observerIn(r.Context(), c.opts.Observer), c.opts, r, c.conn, dialed.Protocol(), dialed.Extensions())
		tunnel.Start(c.conn, conn, c.buffered, early, t)
		return nil
	}
	c.meter, c.object = nil, nil // it has been counted
	client, server := newSocket(c), newSocket(up)
	c.places.join(client)
	go func() { _ = Relay(context.Background(), client, server) }()
	return nil
}

// releasedBy returns t for one tunnel, whose end releases the places.
func (all places) releasedBy(t *tunnel.Options) *tunnel.Options {
	if len(all) == 0 {
		return t
	}
	return alsoEnded(t, func(error) { all.release() })
}

// agreedParams returns what a dialed socket and its server have agreed on, or nil without compression.
func agreedParams(s *Socket) *deflate.Params {
	p, ok, err := deflate.Agree([]string{s.Extensions()})
	if err != nil || !ok {
		return nil
	}
	return &p
}

// untouched returns nil if Respond may use s, a dialed socket, otherwise why not.
func (s *Socket) untouched() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.untouchedLocked()
}

// untouchedLocked is untouched. mu must be held.
func (s *Socket) untouchedLocked() error {
	switch {
	case s.phase == phaseUsed:
		return ErrUsed
	case s.phase != phaseUnaccepted:
		return ErrAccepted
	case s.hasEndedLocked() || s.is(sentClose):
		return ErrClosed
	}
	return nil
}

// takeConn takes the connection of a dialed socket that has not been used, and what has arrived on it. The socket must not be used
// afterwards.
func (s *Socket) takeConn() (conn net.Conn, early []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.untouchedLocked(); err != nil {
		return nil, nil, err
	}
	w := s.link.(*wire)
	s.phase = phaseUsed
	s.leaveRostersLocked()
	if w.incoming != nil {
		early = slices.Clone(w.unparsed.B)
	}
	return w.conn.BlockingConn(), early, nil
}

// giveUp closes the connection of a dialed socket whose response could not be sent.
func (s *Socket) giveUp() {
	if conn, _, err := s.takeConn(); err == nil {
		_ = conn.Close()
	}
}

// countPassThrough counts a connection that is passed through: one connection, whatever it carries and for however long.
func (a admission) countPassThrough() {
	switch now := time.Now(); {
	case a.meter == nil:
	case a.object != nil:
		a.object.bookFact(FactPassThrough, Usage{Connections: 1})
	default:
		a.meter.book(nil, Record{Fact: FactPassThrough, From: now, To: now, Usage: Usage{Connections: 1}})
	}
}

// newTunnelOptions returns the options of connections that are passed through.
func newTunnelOptions(o *Options, idle time.Duration) *tunnel.Options {
	return &tunnel.Options{WriteTimeout: o.WriteTimeout, EndTimeout: o.CloseTimeout, IdleTimeout: min(idle, park.MaxSpan)}
}

// loggedTunnel returns t for the tunnel of r, whose end is logged if the logger, which may be nil, takes that.
func loggedTunnel(t *tunnel.Options, logger *slog.Logger, r *http.Request) *tunnel.Options {
	if logger == nil || !logger.Enabled(context.Background(), slog.LevelDebug) {
		return t
	}
	group := requestLogAttr(r)
	return alsoEnded(t, func(err error) {
		if err == nil {
			err = errors.New("both sides have ended")
		}
		logger.Debug("edgews: a connection that was passed through has ended", "reason", err, group)
	})
}
