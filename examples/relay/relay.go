package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edgews/edgews"
)

const maxName, maxText = 32, 500 // in characters

// relay is the object of one page. It connects to the chat server for the page and filters the messages in both directions:
//
//	page    {"text": "hello"}                                  -->  "Ann: hello"  chat server
//	page    {"text": "/mute Bob"}                              is for the relay itself
//	page    {"type": "said", "name": "Bob", "text": "hello"}   <--  "Bob: hello"  chat server, unless Bob is muted
//	page    {"type": "system", "text": "…", "up": false}       when the chat server goes away
//
// Fields that change need no mutex: they are used only in events of the object, and by work in the background within Do.
type relay struct {
	st     *edgews.State
	url    string       // of the chat server
	client *http.Client // to connect with; nil: the default

	page *edgews.Socket
	name string

	upstream *edgews.Socket // nil while the chat server is away
	away     bool           // the page knows that the chat server is away
	muted    map[string]bool
}

// newRelays returns the namespace of the relays to the chat server at url.
func newRelays(url string, client *http.Client) *edgews.Namespace {
	construct := func(_ context.Context, st *edgews.State) (edgews.Object, error) { return newRelay(st, url, client) }
	return edgews.NewNamespace("relays", construct, &edgews.NamespaceOptions{Options: edgews.Options{MaxMessageSize: 16 << 10}})
}

func newRelay(st *edgews.State, url string, client *http.Client) (*relay, error) {
	err := st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"}) // the page checks the connection with it
	return &relay{st: st, url: url, client: client, muted: make(map[string]bool)}, err
}

// ServeHTTP accepts the page: /socket?name=Ann.
func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name := strings.Join(strings.Fields(req.FormValue("name")), " ")
	if n := utf8.RuneCountInString(name); n == 0 || n > maxName || !utf8.ValidString(name) || strings.ContainsAny(name, ":/") {
		http.Error(w, fmt.Sprintf("a name has 1 to %d characters, and neither a colon nor a slash", maxName), http.StatusBadRequest)
		return
	}
	s, err := edgews.Upgrade(w, req, nil)
	if err != nil {
		return // answered already
	}
	r.join(s, name)
}

// join makes s the page of the relay, and begins to follow the chat server. This is work in the background, which keeps the object awake.
func (r *relay) join(s *edgews.Socket, name string) {
	if err := r.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
		return
	}
	r.page, r.name = s, name
	r.st.WaitUntil(r.follow)
}

// follow connects to the chat server, and does so again whenever the connection is lost, until the page leaves.
func (r *relay) follow(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.page.Context(), cancel)() // the page has left

	opts := &edgews.ReconnectOptions{MaxDelay: 5 * time.Second, OnWait: func(err error, _ time.Duration) {
		r.st.Do(ctx, func() error { return r.disconnected(err) })
	}}
	opts.HTTPClient = r.client
	for upstream, err := range edgews.Reconnect(ctx, r.url, opts) {
		if err != nil {
			r.page.Close(edgews.StatusTryAgainLater, "the relay has ended") // no effect if the page has left
			return
		}
		r.st.Do(ctx, func() error { return r.connected(upstream) })
		for line, err := range upstream.Messages(ctx) {
			if err != nil || r.pass(ctx, line.Text()) != nil {
				break
			}
		}
		upstream.Close(edgews.StatusGoingAway, "") // no effect if it has ended
	}
}

// connected and disconnected are events of the object.
func (r *relay) connected(upstream *edgews.Socket) error {
	r.upstream, r.away = upstream, false
	return edgews.SendJSON(r.page, map[string]any{"type": "system", "text": "Connected to the chat server.", "up": true})
}

func (r *relay) disconnected(err error) error {
	if r.away {
		return nil // one more attempt has failed
	}
	r.upstream, r.away = nil, true
	text := "The chat server has gone away. The relay tries to reach it."
	return edgews.SendJSON(r.page, map[string]any{"type": "system", "text": text, "why": err.Error(), "up": false})
}

// pass sends a line of the chat server to the page. Write waits for a slow page, and the chat server has to wait for the relay then.
func (r *relay) pass(ctx context.Context, line string) error {
	name, text, found := strings.Cut(line, ": ")
	if !found {
		name, text = "", line // of a bot
	}
	var muted bool
	if err := r.st.Do(ctx, func() error { muted = r.muted[name]; return nil }); err != nil || muted {
		return err
	}
	data, err := json.Marshal(map[string]string{"type": "said", "name": name, "text": text})
	if err != nil {
		return err
	}
	return r.page.Write(ctx, edgews.Text, data)
}

// WebSocketMessage gets a message of the page.
func (r *relay) WebSocketMessage(_ context.Context, s *edgews.Socket, msg edgews.Message) error {
	var m struct{ Text string }
	if err := json.Unmarshal(msg.Data, &m); err != nil {
		return s.Close(edgews.StatusUnsupportedData, "not what this page sends")
	}
	command, argument, _ := strings.Cut(m.Text, " ")
	switch n := utf8.RuneCountInString(m.Text); {
	case n == 0 || n > maxText:
		return answer(s, "A message has 1 to %d characters: this one has %d.", maxText, n)
	case command == "/mute" && argument != "":
		r.muted[argument] = true
		return answer(s, "You do not get messages of %s. /unmute %s changes that.", argument, argument)
	case command == "/unmute" && argument != "":
		delete(r.muted, argument)
		return answer(s, "You get messages of %s.", argument)
	case strings.HasPrefix(command, "/"):
		return answer(s, "%s was not sent: the commands are /mute and /unmute with a name.", command)
	case r.upstream == nil:
		return answer(s, "Not sent, because the chat server is away: %s", m.Text)
	}
	if err := r.upstream.Send(r.name + ": " + m.Text); err != nil {
		return answer(s, "Not sent (%v): %s", err, m.Text)
	}
	return nil
}

// answer sends a system message to a page.
func answer(s *edgews.Socket, format string, args ...any) error {
	return edgews.SendJSON(s, map[string]any{"type": "system", "text": fmt.Sprintf(format, args...)})
}
