package edgews

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// SocketInfo describes a socket at one moment.
type SocketInfo struct {
	ID            uint64   // Socket.ID
	Remote, Local net.Addr // Socket.RemoteAddr and Socket.LocalAddr

	// Host and Path are those of the request that was upgraded, or of the URL that was dialed. They are "" for a pair that has not answered a
	// request. The query is left out, since it may hold secrets. Both are as the client has sent them, so they may contain anything. Of
	// either, edgews keeps 256 bytes at most.
	Host, Path string

	Client               bool // this end is the client of a connection
	State                ReadyState
	Protocol, Extensions string    // Socket.Protocol and Socket.Extensions
	Opened               time.Time // when it was open and accepted for the first time; zero: it has not been yet
	Buffered             int       // Socket.BufferedAmount

	// Namespace and Object are those of the object that has accepted, dialed or held the socket; "" and the zero ID: none has, or the object
	// has been reset.
	Namespace string
	Object    ID
	Tags      []string // that State.AcceptWebSocket or State.SetTags has given; the slice is the caller's
	Topics    []string // that State.Subscribe has given; the slice is the caller's. None after the last event

	// Parked says that no goroutine and no buffer belong to the socket at the moment: it is idle, and waits on the event loop. A pair is
	// parked if nothing waits in it. Without the event loop, no connection is.
	Parked bool
}

// lastSocketID is the ID that was given last.
var lastSocketID atomic.Uint64

func newSocketID() uint64 { return lastSocketID.Add(1) }

// ID returns a number that no other socket of this process has, for logs and maps. Sockets that are made later have larger ones; the first has
// 1. The two ends of a pair have one each. When [Respond] gives the connection to the other end of a pair, that keeps its own. Another
// process uses the same numbers again.
func (s *Socket) ID() uint64 { return s.id }

// Info describes the socket as it is now. It may be called at any time, also after the end. It waits for nothing, and is made for asking
// thousands of sockets: on Linux it costs two system calls for the addresses of a TCP connection.
func (s *Socket) Info() SocketInfo {
	info := s.info()
	a := s.addrs()
	info.Remote, info.Local = a.remote, a.local
	return info
}

// info returns everything but the addresses.
func (s *Socket) info() SocketInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := SocketInfo{ID: s.id, State: s.readyStateLocked(), Parked: s.isParkedLocked()}
	if about := s.about; about != nil {
		info.Host, info.Path = about.hostAndPath()
		info.Protocol, info.Extensions, info.Client = about.protocol, about.extensions, about.url != ""
	}
	if s.opened != 0 {
		info.Opened = time.Unix(0, s.opened)
	}
	info.Buffered, _ = s.bufferedLocked()
	s.objectSocket.describeLocked(&info)
	s.pinned.describe(&info)
	return info
}

// isParkedLocked reports whether neither a goroutine nor a buffer belongs to the socket. mu must be held.
func (s *Socket) isParkedLocked() bool {
	switch {
	case s.phase != phaseOpen, s.deferred != nil, s.is(openRunning | streamingOut):
		return false
	case s.in != nil && (s.in.queue.Len() > 0 || s.in.want != wantNothing || s.in.lentBuffer != nil): // a receiver waits, or has a message
		return false
	}
	return s.link.isParkedLocked()
}

// hostAndPath returns those of the request that was upgraded, or of the URL that was dialed.
func (i *identity) hostAndPath() (host, path string) {
	if i.url == "" {
		host, path, found := strings.Cut(i.where, "/")
		if found {
			path = "/" + path
		}
		return host, path
	}
	u, err := url.Parse(i.url)
	if err != nil { // Dial has parsed it, so this cannot happen
		return "", ""
	}
	return clippedTo(u.Host, maxKeptName), clippedTo(u.Path, maxKeptName)
}

// maxKeptName is how much of a host and of a path a socket keeps, in bytes. No host name is longer, and a client must not be able to have
// the server keep a long path for as long as a connection lasts.
const maxKeptName = 256

// whereOf returns the host and the path of r, in one string that shares no memory with r.
func whereOf(r *http.Request) string {
	host, _, _ := strings.Cut(r.Host, "/") // it is what the client has sent
	if r.URL == nil {                      // of a server that is not net/http
		return strings.Clone(clippedTo(host, maxKeptName))
	}
	path := r.URL.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return clippedTo(host, maxKeptName) + clippedTo(path, maxKeptName)
}

// clippedTo returns the beginning of s: n bytes at most, without a part of a character at the end.
func clippedTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
