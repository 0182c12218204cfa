package edgews_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type remark struct {
	Type string `json:"type"`
	Said string `json:"said"`
}

func TestJSON(t *testing.T) {
	both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
		require.NoError(t, a.Accept())
		require.NoError(t, edgews.SendJSON(a, remark{"chat", "hi"}))
		require.NoError(t, a.Send("not json"))
		require.NoError(t, edgews.SendJSON(a, 42))
		got, err := edgews.ReceiveJSON[remark](within(t), b)
		require.NoError(t, err)
		assert.Equal(t, remark{"chat", "hi"}, got)
		_, err = edgews.ReceiveJSON[remark](within(t), b)
		require.ErrorIs(t, err, edgews.ErrBadMessage)
		require.EqualError(t, err, "edgews: bad message: it is not JSON, at byte 2")
		var syntax *json.SyntaxError
		require.ErrorAs(t, err, &syntax)
		n, err := edgews.ReceiveJSON[int](within(t), b)
		require.NoError(t, err)
		assert.Equal(t, 42, n)
		require.NoError(t, a.Close(1000, ""))
		_, err = edgews.ReceiveJSON[int](within(t), b)
		var end *edgews.CloseError
		assert.ErrorAs(t, err, &end)
	})
}

func TestJSONThatCannotBeSent(t *testing.T) {
	a, _ := edgews.NewPair()
	require.NoError(t, a.Accept())
	var unsupported *json.UnsupportedValueError
	assert.ErrorAs(t, edgews.SendJSON(a, math.NaN()), &unsupported)
	assert.ErrorIs(t, edgews.SendJSON(a, json.RawMessage("\"\xff\"")), edgews.ErrInvalidUTF8)
}

func TestOnJSON(t *testing.T) {
	cases := []struct {
		name, sent, end string
	}{
		{"not what is expected", `"a string"`, closed(1007, "message is not the expected JSON", true)},
		{"refused by the handler", `{"said":"no"}`, closed(1011, "internal error", true)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			both(t, edgews.Options{}, func(t *testing.T, a, b *edgews.Socket) {
				said := make(chan string, 10)
				edgews.OnJSON(b, func(m remark) error {
					said <- m.Said
					if m.Said == "no" {
						return errors.New("it said no")
					}
					return nil
				})
				events := record(t, a)
				acceptBoth(t, a, b)
				require.NoError(t, edgews.SendJSON(a, remark{Said: "yes"}))
				assert.Equal(t, "yes", <-said)
				require.NoError(t, a.Send(c.sent))
				events.wantsEnd(c.end)
			})
		})
	}
}

func TestMux(t *testing.T) {
	cases := []struct {
		name, field, message, heard, err string
	}{
		{"known", "", `{"type":"chat","said":"hi"}`, "chat hi", ""},
		{"another field", "said", `{"type":"x","said":"chat"}`, "chat chat", ""},
		{"replaced handler", "", `{"type":"twice"}`, "second", ""},
		{"handler's error", "", `{"type":"fails"}`, "", "on purpose"},
		{"unknown", "", `{"type":"?"}`, "", `no handler for this type of message: "?"`},
		{"no type", "", `{}`, "", `it has no field "type"`},
		{"type is no string", "", `{"type":1}`, "", `its field "type" is no string`},
		{"type is null", "", `{"type":null}`, "", `its field "type" is no string`},
		{"no object", "", `[]`, "", "bad message: it is not a JSON object"},
		{"null", "", ` null`, "", "bad message: it is not a JSON object"},
		{"empty", "", ``, "", "bad message: it is not JSON, at byte 0"},
		{"no JSON", "", `{"type":"chat"`, "", "bad message: it is not JSON, at byte 14"},
		{"not for the handler", "", `{"type":"chat","said":7}`, "", `bad message: its field "said" has the wrong type, number`},
		{"twice", "", `{"type":"fails","said":"hi","type":"chat"}`, "chat hi", ""},
		{"escaped", "", `{"t\u0079pe" : "ch\u0061t" , "said":"\"}{"}`, `chat "}{`, ""},
		{"in another object", "", `{"a":{"type":"fails"},"b":[{"type":"fails"}],"c":"type","type":"chat","said":"hi"}`, "chat hi", ""},
		{"long names", "", `{"type":"` + strings.Repeat("ä", 1000) + `"}`, "", `message: "` + strings.Repeat("ä", 8) + `…"`},
		{"deep", "", nested(999), "chat ", ""},
		{"too deep", "", nested(1000), "", "bad message: it is nested deeper than MaxDepth, 1000"},
		{"many values", "", manyValues(999_997), "chat ", ""},
		{"too many values", "", manyValues(1_000_000), "", "bad message: it has more values than MaxValues, 1000000"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, _ := edgews.NewPair()
			mux := edgews.Mux{Field: c.field}
			heard := ""
			edgews.Handle(&mux, "chat", func(_ context.Context, from *edgews.Socket, m remark) error {
				assert.Same(t, s, from)
				heard = "chat " + m.Said
				return nil
			})
			edgews.Handle(&mux, "fails", func(context.Context, *edgews.Socket, remark) error { return errors.New("on purpose") })
			for _, what := range []string{"first", "second"} {
				edgews.Handle(&mux, "twice", func(context.Context, *edgews.Socket, any) error { heard = what; return nil })
			}
			err := mux.Dispatch(t.Context(), s, edgews.Message{Kind: edgews.Text, Data: []byte(c.message)})
			assert.Equal(t, c.heard, heard)
			if c.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.err)
				assert.NotContains(t, err.Error(), "*")
				assert.Equal(t, strings.HasPrefix(c.err, "bad message"), errors.Is(err, edgews.ErrBadMessage))
				assert.LessOrEqual(t, len(err.Error()), 123, "fits into a Close")
			}
		})
	}
}

// nested is a message with an array that is n deep.
func nested(n int) string {
	return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `,"type":"chat"}`
}

func manyValues(n int) string { return `{"a":[` + strings.Repeat("1,", n) + `1],"type":"chat"}` }

// Nothing but what is routed is decoded.
func TestMuxDecodesOnlyWhatIsRouted(t *testing.T) {
	s, _ := edgews.NewPair()
	mux := edgews.Mux{MaxValues: 1 << 30}
	edgews.Handle(&mux, "known", func(context.Context, *edgews.Socket, any) error { return nil })
	for name, message := range map[string]string{
		"unknown type":  `{"type":"x","a":[` + strings.Repeat("[],", 1<<20) + `1]}`,
		"many fields":   `{"type":"x",` + strings.Repeat(`"":[],`, 1<<19) + `"a":1}`,
		"type is large": `{"type":[` + strings.Repeat("[],", 1<<20) + `1]}`,
		"array":         "[" + strings.Repeat("[],", 1<<20) + "1]",
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(message)
			_, allocated := spent(func() {
				require.Error(t, mux.Dispatch(t.Context(), s, edgews.Message{Kind: edgews.Text, Data: data}))
			})
			assert.Less(t, allocated, 1<<20)
		})
	}
	t.Run("as many as a handler takes", func(t *testing.T) {
		mux.MaxValues = 0
		data := []byte(`{"type":"known","a":[` + strings.Repeat("[],", 2<<20) + `1]}`)
		_, allocated := spent(func() {
			require.ErrorIs(t, mux.Dispatch(t.Context(), s, edgews.Message{Kind: edgews.Text, Data: data}), edgews.ErrBadMessage)
		})
		assert.Less(t, allocated, 1<<20)
	})
}

// What a client sends is not a failure of the object: it fills no log.
func TestMuxErrorsOfObjectsAreThePeers(t *testing.T) {
	for _, logged := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			var lines, others bytes.Buffer
			before := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(&others, nil)))
			defer slog.SetDefault(before)
			opts := &edgews.NamespaceOptions{}
			if logged {
				opts.Logger = slog.New(slog.NewTextHandler(&lines, nil))
			}
			client, server := edgews.NewPair()
			n := edgews.NewNamespace("muxes", func(_ context.Context, st *edgews.State) (edgews.Object, error) {
				return new(muxRoom), st.AcceptWebSocket(server)
			}, opts)
			n.Get(n.NewUniqueID()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			require.NoError(t, client.Accept())
			require.NoError(t, client.Send("no JSON"))
			require.NoError(t, client.Send(`{"type":"unknown"}`))
			synctest.Wait()
			require.NoError(t, client.Close(1000, ""))
			assert.Empty(t, others.String())
			assert.NotContains(t, lines.String(), "ERROR")
			assert.Equal(t, logged, strings.Contains(lines.String(), "message refused"))
		})
	}
}

// muxRoom is an object that returns the errors of a Mux.
type muxRoom struct{ mux edgews.Mux }

func (*muxRoom) ServeHTTP(http.ResponseWriter, *http.Request) {}

func (r *muxRoom) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	return r.mux.Dispatch(ctx, s, m)
}
