package gorilla_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gorillaHub sends what a client says to all clients. One goroutine owns the map, and each client has two more.
type gorillaHub struct {
	clients    map[*gorillaMember]bool
	broadcast  chan []byte
	register   chan *gorillaMember
	unregister chan *gorillaMember
}

// gorillaMember is a client: its connection, and the queue of its writing goroutine.
type gorillaMember struct {
	hub  *gorillaHub
	conn *websocket.Conn
	send chan []byte
}

func newGorillaHub() *gorillaHub {
	return &gorillaHub{
		clients:    make(map[*gorillaMember]bool),
		broadcast:  make(chan []byte),
		register:   make(chan *gorillaMember),
		unregister: make(chan *gorillaMember),
	}
}

func (h *gorillaHub) run() {
	for {
		select {
		case m := <-h.register:
			h.clients[m] = true
		case m := <-h.unregister:
			if h.clients[m] {
				delete(h.clients, m)
				close(m.send)
			}
		case message := <-h.broadcast:
			for m := range h.clients {
				select {
				case m.send <- message:
				default: // its queue is full
					delete(h.clients, m)
					close(m.send)
				}
			}
		}
	}
}

func (h *gorillaHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	m := &gorillaMember{h, conn, make(chan []byte, 256)}
	h.register <- m
	go m.writePump()
	m.readPump()
}

func (m *gorillaMember) readPump() {
	defer func() {
		m.hub.unregister <- m
		m.conn.Close()
	}()
	m.conn.SetReadLimit(64 << 10)
	m.conn.SetReadDeadline(time.Now().Add(pongWait))
	m.conn.SetPongHandler(func(string) error { return m.conn.SetReadDeadline(time.Now().Add(pongWait)) })
	for {
		_, message, err := m.conn.ReadMessage()
		if err != nil {
			return
		}
		m.hub.broadcast <- message
	}
}

func (m *gorillaMember) writePump() {
	ticker := time.NewTicker(pongWait * 9 / 10)
	defer ticker.Stop()
	defer m.conn.Close()
	for {
		select {
		case message, ok := <-m.send:
			m.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if !ok {
				m.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			if err := m.conn.WriteMessage(websocket.TextMessage, message); err != nil {
				return
			}
		case <-ticker.C:
			m.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if err := m.conn.WriteMessage(websocket.PingMessage, nil); err != nil {
				return
			}
		}
	}
}

// newHub makes the same with edgews: the hub is the map, and each socket has its queue.
func newHub() *edgews.Hub {
	return edgews.NewHub(&edgews.HubOptions{Options: edgews.Options{
		MaxMessageSize: 64 << 10,
		Overflow:       edgews.OverflowClose, // its queue is full
	}})
}

func serveHub(hub *edgews.Hub, w http.ResponseWriter, r *http.Request) {
	s, err := hub.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.OnMessage(func(e edgews.MessageEvent) {
		hub.Broadcast(edgews.Prepare(edgews.Text, e.Data))
	})
	s.Accept()
}

func TestHubs(t *testing.T) {
	gorilla, hub := newGorillaHub(), newHub()
	go gorilla.run() // it has no end
	for name, handler := range map[string]http.Handler{
		"gorilla": gorilla,
		"edgews":  http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serveHub(hub, w, r) }),
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			var members [3]*edgews.Socket
			for i := range members {
				s, _, err := edgews.Dial(t.Context(), server.URL, nil)
				require.NoError(t, err)
				defer s.Close(edgews.StatusNormalClosure, "")
				members[i] = s
				// Its own message says that the hub has it.
				require.NoError(t, s.Write(t.Context(), edgews.Text, []byte("here")))
				m, err := s.Receive(t.Context())
				require.NoError(t, err)
				assert.Equal(t, "here", m.Text())
			}
			require.NoError(t, members[0].Send("hello"))
			for i, s := range members {
				for range len(members) - 1 - i { // those who came later
					m, err := s.Receive(t.Context())
					require.NoError(t, err)
					assert.Equal(t, "here", m.Text())
				}
				m, err := s.Receive(t.Context())
				require.NoError(t, err)
				assert.Equal(t, "hello", m.Text())
			}
		})
	}
}
