package cluster

import (
	"encoding/json"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/edgews/edgews"
)

// edgeHead is what an edge keeps of a socket to announce it to the next home, besides what the Socket knows. It is small: most sockets are idle.
// What changes is guarded by the edgeSocket's mu.
type edgeHead struct {
	of              *edgeOrigin
	remoteAddr      string
	kept            string // edgews.ClusterKept as the home has sent it; "": it has not
	auto            *autoResponses
	conn            uint64 // the number in the key of the connection
	Epoch           uint64 // with which its home owns the shard; 0: it has not been announced to the next one
	AutoRespondedAt int64
	Positions       edgews.ClusterPositions
	topics          []string // to which the connection is subscribed, oldest first
	opened          int64
	Shard           Shard
	accepted        bool // kept says that State.AcceptWebSocket was called: the socket survives its home
}

// edgeOrigin is what sockets of one object mostly have in common. It never changes.
type edgeOrigin struct {
	key       edgews.ObjectKey
	localAddr string
	options   sentOptions
}

// autoResponses are those that the home of an object has told. They never change.
type autoResponses struct {
	content  string // as they have arrived
	list     []edgews.AutoResponse
	response map[string]string // by the request
}

// edgeShared remembers what sockets that were opened or told last have in common, so that they share it. Shards have their own, in part.
type edgeShared struct {
	origin atomic.Pointer[edgeOrigin]
	auto   atomic.Pointer[autoResponses]
}

// edgeGroups is how many edgeShared a Cluster has.
const edgeGroups = 64

// originOf returns the origin that is equal to o.
func (s *edgeShared) originOf(o *edgeOrigin) *edgeOrigin {
	if last := s.origin.Load(); last != nil && *last == *o {
		return last
	}
	s.origin.Store(o)
	return o
}

// autoOf returns the auto-responses that a message of the home has. It returns nil if it has none that can be decoded.
func (s *edgeShared) autoOf(content []byte) *autoResponses {
	if last := s.auto.Load(); last != nil && last.content == string(content) {
		return last
	}
	a := &autoResponses{content: string(content)}
	if json.Unmarshal(content, &a.list) != nil {
		return nil
	}
	a.response = make(map[string]string, len(a.list))
	for _, pair := range a.list {
		a.response[pair.Request] = pair.Response
	}
	s.auto.Store(a)
	return a
}

// connKey returns the key of the connection with that number.
func (c *Cluster) connKey(n uint64) string { return c.token + strconv.FormatUint(n, 36) }

// announcementLocked returns what the next home is told. handled messages of the client have been handled. The edgeSocket's mu must be held.
func (h *edgeHead) announcementLocked(e *edgeSocket, handled uint64) socketHead {
	info := e.s.Info()
	a := socketHead{
		target: targetOf(h.of.key), Shard: h.Shard, Epoch: h.Epoch, ConnKey: e.c.connKey(h.conn), Options: h.of.options, Host: info.Host,
		Path: info.Path, Protocol: info.Protocol, Extensions: info.Extensions, RemoteAddr: h.remoteAddr, LocalAddr: h.of.localAddr, Handled: handled,
		AutoRespondedAt: h.AutoRespondedAt, Opened: h.opened, Positions: slices.Clone(h.Positions), Topics: slices.Clone(h.topics),
	}
	if h.auto != nil {
		a.AutoResponses = h.auto.list
	}
	if h.kept != "" {
		_ = json.Unmarshal([]byte(h.kept), &a.Kept) // keepLocked has tried it
	}
	return a
}

// keepLocked keeps what the home has sent for the next one. The edgeSocket's mu must be held.
func (h *edgeHead) keepLocked(content []byte) {
	var kept edgews.ClusterKept
	if json.Unmarshal(content, &kept) == nil {
		h.kept, h.accepted = string(content), kept.Accepted
		h.Positions.Keep(kept.Feeds)
	}
}
