package server

import (
	"net"
	"net/http"

	"github.com/lxzan/gws"
)

func serveGws(l net.Listener, c Config) error {
	var handler gws.Event = gwsEcho{}
	switch {
	case c.Work == Broadcast:
		handler = &gwsBroadcast{}
	case c.Work.mixed():
		handler = gwsMixed{work: c.Work}
	}
	upgrader := gws.NewUpgrader(handler, &gws.ServerOption{PermessageDeflate: gws.PermessageDeflate{
		Enabled:               c.Deflate != Plain,
		ServerContextTakeover: c.Deflate == Takeover,
		ClientContextTakeover: c.Deflate == Takeover,
	}})
	return serveHTTP(l, func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		go conn.ReadLoop() // as in the README; the request can then be collected
	})
}

type gwsEcho struct{ gws.BuiltinEventHandler }

func (gwsEcho) OnMessage(conn *gws.Conn, m *gws.Message) {
	defer m.Close()
	_ = conn.WriteMessage(m.Opcode, m.Bytes())
}

// OnPing answers with the payload of the ping, which the built-in handler does not.
func (gwsEcho) OnPing(conn *gws.Conn, p []byte) { _ = conn.WritePong(p) }

type gwsMixed struct {
	gws.BuiltinEventHandler
	work Work
}

func (h gwsMixed) OnMessage(conn *gws.Conn, m *gws.Message) {
	defer m.Close()
	if h.work.answers(m.Opcode == gws.OpcodeText) {
		_ = conn.WriteMessage(m.Opcode, m.Bytes())
	}
}

type gwsBroadcast struct {
	gws.BuiltinEventHandler
	all broadcastGroup[*gws.Conn]
}

func (b *gwsBroadcast) OnOpen(conn *gws.Conn) { b.all.add(conn) }

func (b *gwsBroadcast) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	cast := gws.NewBroadcaster(m.Opcode, m.Bytes())
	defer cast.Close()
	b.all.send(func(conn *gws.Conn) { _ = cast.Broadcast(conn) })
}
