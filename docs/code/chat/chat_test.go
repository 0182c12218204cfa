package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inBubble runs fn with a server of the chat in memory, in which time is virtual.
func inBubble(t *testing.T, fn func(t *testing.T, srv *edgewstest.Server, rooms *edgews.Namespace)) {
	synctest.Test(t, func(t *testing.T) {
		limiters := edgews.NewNamespace("limiters", newLimiter, &edgews.NamespaceOptions{HibernateAfter: time.Minute})
		rooms := edgews.NewNamespace("rooms", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
			return &room{st: st, limiters: limiters}, nil
		}, nil)
		srv := edgewstest.New(t, worker(rooms))
		fn(t, srv, rooms)
		require.NoError(t, rooms.Shutdown(context.Background()))
		require.NoError(t, limiters.Shutdown(context.Background()))
	})
}

// enter connects a client, which does not say its name yet.
func enter(t *testing.T, srv *edgewstest.Server, room string) *edgewstest.Recorder {
	s := srv.Dial("/api/room/"+room+"/websocket", nil)
	client := edgewstest.Record(t, s)
	require.NoError(t, s.Accept())
	return client
}

// say sends a message a little later than what was said before, so that the limit does not apply.
func say(client *edgewstest.Recorder, message string) {
	client.WantNothing(5 * time.Second)
	client.Socket().Send(message)
}

// saidAt is the line of a message that is said now.
func saidAt(name, message string) string {
	return fmt.Sprintf("text %q", fmt.Sprintf(`{"name":%q,"message":%q,"timestamp":%d}`, name, message, time.Now().UnixMilli()))
}

func TestChat(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *edgewstest.Server, rooms *edgews.Namespace) {
		ann := enter(t, srv, "lobby")
		say(ann, `{"name":"ann"}`)
		ann.Want(`text "{\"joined\":\"ann\"}"`, `text "{\"ready\":true}"`)
		say(ann, `{"message":"hello"}`)
		hello := saidAt("ann", "hello")
		ann.Want(hello)

		bob := enter(t, srv, "lobby")
		say(ann, `{"message":"who is there?"}`)
		question := saidAt("ann", "who is there?")
		ann.Want(question)
		bob.WantNothing(time.Minute) // he has not said his name; and the room hibernates meanwhile
		for o := range rooms.Objects() {
			assert.Equal(t, edgews.ObjectHibernated, o.State)
			assert.Equal(t, 2, o.Sockets)
		}
		say(bob, `{"name":"bob"}`)
		bob.Want(`text "{\"joined\":\"ann\"}"`, hello, question, `text "{\"joined\":\"bob\"}"`, `text "{\"ready\":true}"`)
		ann.Want(`text "{\"joined\":\"bob\"}"`)

		bob.WantNothing(time.Minute)
		bob.Socket().Close(edgews.StatusNormalClosure, "")
		bob.WantEnd(`close 1000 "" clean=true`)
		ann.Want(`text "{\"quit\":\"bob\"}"`)
	})
}

func TestHistoryHasAHundredMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *edgewstest.Server, rooms *edgews.Namespace) {
		ann := enter(t, srv, "lobby")
		say(ann, `{"name":"ann"}`)
		ann.Want(`text "{\"joined\":\"ann\"}"`, `text "{\"ready\":true}"`)
		var lines []string
		for i := range 105 {
			say(ann, fmt.Sprintf(`{"message":"message %d"}`, i))
			lines = append(lines, saidAt("ann", fmt.Sprintf("message %d", i)))
			ann.Want(lines[i])
		}
		bob := enter(t, srv, "lobby")
		say(bob, `{"name":"bob"}`)
		bob.Want(`text "{\"joined\":\"ann\"}"`)
		bob.Want(lines[5:]...)
		bob.Want(`text "{\"joined\":\"bob\"}"`, `text "{\"ready\":true}"`)
	})
}

func TestRefusals(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *edgewstest.Server, rooms *edgews.Namespace) {
		ann := enter(t, srv, "lobby")
		say(ann, `hello`)
		ann.Want(`text "{\"error\":\"That is not JSON.\"}"`)
		say(ann, `{}`)
		ann.Want(`text "{\"joined\":\"anonymous\"}"`, `text "{\"ready\":true}"`)
		say(ann, fmt.Sprintf(`{"message":%q}`, strings.Repeat("ä", 257)))
		ann.Want(`text "{\"error\":\"Message too long.\"}"`)

		bob := enter(t, srv, "lobby")
		say(bob, fmt.Sprintf(`{"name":%q}`, strings.Repeat("b", 33)))
		bob.WantEnd(`text "{\"error\":\"Name too long.\"}"`, `close 1009 "Name too long." clean=true`)

		for _, name := range []string{strings.Repeat("r", 33), strings.Repeat("0", 64)} {
			_, resp, err := srv.TryDial(t.Context(), "/api/room/"+name+"/websocket", nil)
			require.Error(t, err)
			assert.Equal(t, http.StatusNotFound, resp.StatusCode)
		}
	})
}

func TestLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, srv *edgewstest.Server, rooms *edgews.Namespace) {
		ann := enter(t, srv, "lobby")
		ann.Socket().Send(`{"name":"ann"}`)
		ann.Want(`text "{\"joined\":\"ann\"}"`, `text "{\"ready\":true}"`)
		for range 4 {
			ann.Socket().Send(`{"message":"hello"}`)
			assert.Contains(t, ann.Next(), "hello")
		}
		ann.Socket().Send(`{"message":"one too many"}`)
		assert.Contains(t, ann.Next(), "rate-limited")
		ann.WantNothing(5 * time.Second)
		ann.Socket().Send(`{"message":"hello"}`)
		assert.Contains(t, ann.Next(), "hello")
	})
}

// TestServe starts the program, in a way, and starts it again with the same file.
func TestServe(t *testing.T) {
	data := filepath.Join(t.TempDir(), "chat.db")
	var room string
	for round := range 2 {
		ctx, stop := context.WithCancel(t.Context())
		l, err := net.Listen("tcp", "localhost:0")
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- serve(ctx, l, data) }()
		url := "http://" + l.Addr().String()

		resp, err := http.Get(url)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Contains(t, string(body), "<title>edgews chat port</title>")
		if round == 0 {
			resp, err := http.Post(url+"/api/room", "", nil)
			require.NoError(t, err)
			id, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			room = string(id)
		}

		s, _, err := edgews.Dial(t.Context(), url+"/api/room/"+room+"/websocket", nil)
		require.NoError(t, err)
		require.NoError(t, s.Write(t.Context(), edgews.Text, []byte(`{"name":"ann"}`)))
		require.NoError(t, s.Write(t.Context(), edgews.Text, []byte(`{"message":"hello"}`)))
		for _, want := range [][]string{{"joined", "ready", "hello"}, {"hello", "joined", "ready", "hello"}}[round] {
			m, err := s.Receive(t.Context())
			require.NoError(t, err)
			assert.Contains(t, m.Text(), want)
		}
		stop()
		_, err = s.Receive(t.Context())
		assert.ErrorContains(t, err, "1012")
		require.NoError(t, <-ended)
	}
}
