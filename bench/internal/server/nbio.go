package server

import (
	"net"
	"net/http"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

const nbioModule = "github.com/lesismal/nbio"

// serveNbio is as in its examples: messages are handled by a pool of goroutines.
func serveNbio(l net.Listener, c Config) error { return nbio(l, c, nil) }

// serveNbioTuned handles messages on the goroutine that reads them, as its documentation suggests for handlers that do not block.
func serveNbioTuned(l net.Listener, c Config) error { return nbio(l, c, func(f func()) { f() }) }

func nbio(l net.Listener, c Config, executor func(func())) error {
	logging.SetLevel(logging.LevelError)
	upgrader := websocket.NewUpgrader()
	upgrader.EnableCompression(c.Deflate == Reset)
	switch {
	case c.Work == Broadcast:
		nbioBroadcast(upgrader)
	case c.Work.mixed():
		upgrader.OnMessage(func(conn *websocket.Conn, typ websocket.MessageType, p []byte) {
			if c.Work.answers(typ == websocket.TextMessage) {
				_ = conn.WriteMessage(typ, p)
			}
		})
	default:
		upgrader.OnMessage(func(conn *websocket.Conn, typ websocket.MessageType, p []byte) {
			_ = conn.WriteMessage(typ, p)
		})
	}
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:                 "tcp",
		Addrs:                   []string{l.Addr().String()},
		Listen:                  func(string, string) (net.Listener, error) { return l, nil },
		MaxLoad:                 1_000_000,
		ReleaseWebsocketPayload: true,
		ServerExecutor:          executor,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			if c.Deflate == Reset {
				conn.EnableWriteCompression(true)
			}
		}),
	})
	if err := engine.Start(); err != nil {
		return err
	}
	select {}
}

func nbioBroadcast(u *websocket.Upgrader) {
	var all broadcastGroup[*websocket.Conn]
	u.OnOpen(func(conn *websocket.Conn) { all.add(conn) })
	u.OnMessage(func(_ *websocket.Conn, typ websocket.MessageType, p []byte) {
		all.send(func(conn *websocket.Conn) { _ = conn.WriteMessage(typ, p) })
	})
}

// withoutNbio drops the engine that nbio's package creates when it is initialized. Its queues of 1 MiB, and as much garbage as the
// collector allows for them, would otherwise be in the memory of every Go server here.
func withoutNbio() {
	defer func() {
		_ = recover() // Stop panics for an engine that was not started, but first ends the goroutines that have the queues
		websocket.DefaultEngine = nil
	}()
	websocket.DefaultEngine.Stop()
}
