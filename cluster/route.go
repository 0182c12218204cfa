package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/edgews/edgews/cluster/internal/link"
)

// errNoHome is for requests that have waited for a home until their context has ended.
var errNoHome = errors.New("edgews: the object has no home in the cluster at the moment")

// retryPause is how long a request waits, at most, before it asks again a node that has refused it: its view may be newer than this node's.
const retryPause = 50 * time.Millisecond

// home waits until the shard has an owner that is alive, and returns it.
func (c *Cluster) home(ctx context.Context, s Shard) (Ownership, Member, error) {
	waits := false
	for {
		changed := c.Changed()
		if o, m, ok := c.Owner(s); ok {
			return o, m, nil
		}
		if !waits {
			waits = true
			defer c.counts.wait()()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Ownership{}, Member{}, errors.Join(errNoHome, context.Cause(ctx))
		case <-c.done:
			return Ownership{}, Member{}, ErrNodeClosed
		}
	}
}

// retry waits before a request is sent again to the home of its object.
func (c *Cluster) retry(ctx context.Context) error {
	c.counts.retries.Add(1)
	defer c.counts.wait()()
	return c.awaitRetry(ctx)
}

// awaitRetry waits before something is tried again.
func (c *Cluster) awaitRetry(ctx context.Context) error {
	changed := c.Changed()
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return ErrNodeClosed
	}
	return nil
}

// open opens a channel to a member, and waits for room.
func (c *Cluster) open(ctx context.Context, m Member, greeting []byte, r link.Receiver) (*link.Channel, error) {
	for {
		ch, err := c.openNow(m, greeting, r)
		if !errors.Is(err, link.ErrWindowFull) && !errors.Is(err, link.ErrTooManyChannels) {
			return ch, err
		}
		if err := c.awaitRetry(ctx); err != nil {
			return nil, err
		}
	}
}

// openNow opens a channel to a member if there is room. If the member is gone by now, removeLinks may have ended the links with it before, and the
// channel has made another one: that is ended, too, or the channel would wait for ever.
func (c *Cluster) openNow(m Member, greeting []byte, r link.Receiver) (*link.Channel, error) {
	peer := peerOf(m)
	ch, err := c.links.Open(peer, greeting, 1, r)
	if err == nil && !m.is(c.Self()) && !c.isMember(peer) {
		time.AfterFunc(2*drainTimeout, func() { // as removeLinks: it may have left, and still answer
			if !c.isMember(peer) {
				c.links.Remove(peer.ID, peer.Incarnation)
			}
		})
	}
	return ch, err
}

// isNotHome reports whether a channel has ended with err because the peer is not the object's home.
func isNotHome(err error) bool {
	reset, ok := errors.AsType[*link.ResetError](err)
	return ok && reset.Code == codeNotHome
}

// isLost reports whether a channel has ended with err because the peer is gone, or knows nothing of the link any more.
func isLost(err error) bool {
	return errors.Is(err, link.ErrReplaced) || errors.Is(err, link.ErrRemoved) || errors.Is(err, link.ErrSessionLost)
}
