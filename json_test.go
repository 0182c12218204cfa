package edgews_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"

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
		require.ErrorContains(t, err, "cannot be decoded into *edgews_test.remark")
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
		{"no object", "", `[]`, "", "cannot be decoded"},
		{"not for the handler", "", `{"type":"chat","said":7}`, "", "cannot be decoded"},
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
			}
		})
	}
}
