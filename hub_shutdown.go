package edgews

import (
	"context"
	"fmt"
)

// Shutdown closes the sockets of the hub, and waits for their end:
//
// From now on, Upgrade answers with 503 and Add fails. The sockets close with ShutdownCode (by default 1012, service restart), each at a random
// moment within ShutdownWindow. Shutdown waits until they have ended, their close listeners included, and until the handlers have returned
// whose requests Upgrade has answered, if they run in net/http's server: what they do after the last message is not interrupted.
//
// When ctx ends first, Shutdown cuts the connections that are left, with 1006 and ErrHubShutdown on this side, and returns an error that wraps
// ctx.Err() and says how many sockets and handlers it did not wait for. It returns nil if all had the time to finish. A call while another
// is under way, or after one, waits until the first has returned, or ctx ends. With net/http:
//
//	server.RegisterOnShutdown(func() { hub.Shutdown(ctx) })
//
// The Shutdown of net/http knows nothing of sockets and does not wait for that function: call hub.Shutdown once more before the process ends.
func (h *Hub) Shutdown(ctx context.Context) error {
	if !h.beginShutdown() {
		return waitFor(ctx, h.shutdownDone)
	}
	defer close(h.shutdownDone)
	sockets := h.find(nil)
	spreadOver(ctx, h.opts.ShutdownWindow, *sockets, func(s *Socket) { s.acceptAndClose(h.opts.ShutdownCode, shutdownReason) })
	forget(sockets)
	err := h.waitQuiet(ctx)
	if err != nil {
		err = h.unfinished(err)
		h.cutAll()
	}
	return err
}

// beginShutdown lets no more sockets in. It returns false for every call but the first.
func (h *Hub) beginShutdown() (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first = !h.closing
	h.closing = true
	return first
}

// waitQuiet waits until there is nothing left to wait for.
func (h *Hub) waitQuiet(ctx context.Context) error {
	for {
		h.mu.Lock()
		if h.isQuietLocked() {
			h.mu.Unlock()
			return nil
		}
		quiet := h.quiet.wait()
		h.mu.Unlock()
		if err := waitFor(ctx, quiet); err != nil {
			return err
		}
	}
}

// unfinished returns the error of a Shutdown that has stopped waiting because of err.
func (h *Hub) unfinished(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Errorf("edgews: hub was shut down before %d of its sockets had ended and %d of its handlers had returned: %w",
		h.members.Len()+h.reserved, h.handlers, err)
}

// cutAll closes the connections that are left, without a closing handshake.
func (h *Hub) cutAll() {
	sockets := h.find(nil)
	defer forget(sockets)
	for _, s := range *sockets {
		s.cut(h.opts.ShutdownCode, ErrHubShutdown)
	}
}
