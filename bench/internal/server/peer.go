package server

import (
	"fmt"
	"net"
	"slices"
)

// Peer is one server.
type Peer struct {
	Name   string
	Module string // the measured library; "" for the floors and the standard library

	// Raw servers do not implement WebSocket: there is no handshake, and they send back the same bytes.
	Raw bool

	// Proxies forward the connections to another server, Config.Upstream. They are measured in the cells for proxies only.
	Proxy bool

	// Opening servers differ from another one only in how a connection opens. They are measured in the cells where that matters.
	Opening bool

	Deflate  bool // supports permessage-deflate
	Takeover bool // and context takeover
	NoTLS    bool // cannot serve TLS, or not with crypto/tls
	CanCount bool // has a handler for Count
	CanBlock bool // has a handler for Block

	// Serve serves the listener's connections. It returns when the listener fails.
	Serve func(l net.Listener, c Config) error
}

// Peers returns all servers and proxies written in Go. The Go floor is the first.
func Peers() []Peer {
	return []Peer{
		{Name: GoFloor, Raw: true, Serve: serveGoFloor},
		{Name: EpollFloor, Raw: true, NoTLS: true, Serve: serveEpollFloor},
		{Name: Edgews, Module: "github.com/edgews/edgews", Deflate: true, Takeover: true, CanCount: true, CanBlock: true, Serve: serveEdgews},
		{Name: EdgewsServe, Module: "github.com/edgews/edgews", NoTLS: true, Opening: true, Serve: serveEdgewsServe},
		{Name: "edgews observed", Module: "github.com/edgews/edgews", Deflate: true, Takeover: true, CanCount: true, Serve: serveEdgewsObserved},
		{Name: "edgews metrics", Module: "github.com/edgews/edgews", Deflate: true, Takeover: true, CanCount: true, Serve: serveEdgewsMetrics},
		{Name: EdgewsObject, Module: "github.com/edgews/edgews", Deflate: true, Takeover: true, CanCount: true, CanBlock: true, Serve: serveEdgewsObject},
		{Name: "gws", Module: "github.com/lxzan/gws", Deflate: true, Takeover: true, CanCount: true, CanBlock: true, Serve: serveGws},
		{Name: "gobwas", Module: "github.com/gobwas/ws", Deflate: true, CanCount: true, CanBlock: true, Serve: serveGobwas},
		{Name: "gobwas tuned", Module: "github.com/gobwas/ws", Deflate: true, Serve: serveGobwasTuned},
		{Name: "gorilla", Module: "github.com/gorilla/websocket", Deflate: true, CanCount: true, CanBlock: true, Serve: serveGorilla},
		{Name: "gorilla tuned", Module: "github.com/gorilla/websocket", Deflate: true, Serve: serveGorillaTuned},
		{Name: "coder", Module: "github.com/coder/websocket", Deflate: true, Takeover: true, CanCount: true, CanBlock: true, Serve: serveCoder},
		{Name: "coder tuned", Module: "github.com/coder/websocket", Deflate: true, Takeover: true, Serve: serveCoderTuned},
		{Name: "nbio", Module: nbioModule, Deflate: true, NoTLS: true, CanCount: true, CanBlock: true, Serve: serveNbio},
		{Name: "nbio tuned", Module: nbioModule, Deflate: true, NoTLS: true, CanCount: true, Serve: serveNbioTuned},
		{Name: EdgewsProxy, Module: "github.com/edgews/edgews", Proxy: true, Serve: serveEdgewsProxy},
		{Name: "edgews relay", Module: "github.com/edgews/edgews", Proxy: true, Serve: serveEdgewsRelay},
		{Name: "ReverseProxy", Proxy: true, Serve: serveReverseProxy},
		{Name: "gorilla relay", Module: "github.com/gorilla/websocket", Proxy: true, Serve: serveGorillaRelay},
	}
}

// Names of the servers that others are measured against.
const (
	GoFloor    = "Go floor"    // a goroutine and a buffer per connection, on net.Conn
	EpollFloor = "epoll floor" // one loop over raw epoll, in Go
)

// Names of the servers and of the proxy that use this library.
const (
	Edgews       = "edgews"
	EdgewsServe  = "edgews Serve"
	EdgewsObject = "edgews object"
	EdgewsProxy  = "edgews proxy"
)

func find(name string) (Peer, error) {
	peers := Peers()
	i := slices.IndexFunc(peers, func(p Peer) bool { return p.Name == name })
	if i < 0 {
		return Peer{}, fmt.Errorf("no server is called %q", name)
	}
	return peers[i], nil
}
