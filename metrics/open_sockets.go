package metrics

import (
	"sync"
	"sync/atomic"

	"github.com/edgews/edgews"
)

// openSockets finds the open sockets. Calls for one socket must not overlap, as those of an Observer do not; calls for different ones may.
type openSockets struct {
	recent [recentSockets]atomic.Pointer[openSocket] // by the number of the socket; of two with the same place the one that was looked up last
	all    sync.Map                                  // *edgews.Socket → *openSocket
}

// recentSockets is a power of two. The places take 32 KB.
const recentSockets = 4096

// openSocket is an open socket and where its messages are counted.
type openSocket struct {
	socket *edgews.Socket
	shard  *messageShard
}

func (o *openSockets) place(s *edgews.Socket) *atomic.Pointer[openSocket] {
	return &o.recent[s.ID()%recentSockets]
}

func (o *openSockets) add(open *openSocket) {
	o.all.Store(open.socket, open)
	o.place(open.socket).Store(open)
}

// find returns an open socket, or nil.
func (o *openSockets) find(s *edgews.Socket) *openSocket {
	if open := o.findRecent(s); open != nil {
		return open
	}
	return o.findAny(s)
}

// findRecent is find for a socket that was looked up recently, as those of most messages were; nil: it was not. It takes half the time.
func (o *openSockets) findRecent(s *edgews.Socket) *openSocket {
	if s == nil {
		return nil
	}
	if open := o.place(s).Load(); open != nil && open.socket == s {
		return open
	}
	return nil
}

func (o *openSockets) findAny(s *edgews.Socket) *openSocket {
	open, _ := o.all.Load(s)
	if open == nil {
		return nil
	}
	o.place(s).Store(open.(*openSocket))
	return open.(*openSocket)
}

func (o *openSockets) remove(open *openSocket) {
	o.all.Delete(open.socket)
	o.place(open.socket).CompareAndSwap(open, nil)
}
