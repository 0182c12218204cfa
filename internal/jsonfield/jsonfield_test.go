package jsonfield_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/jsonfield"
)

var generous = jsonfield.Limits{MaxDepth: 1000, MaxValues: 1000}

func TestFind(t *testing.T) {
	for _, tt := range []struct{ data, want string }{
		{`{"type":"chat"}`, `"chat"`},
		{" {\n\"a\": 1 , \"type\" : [1, {\"type\": 2}] }", `[1, {"type": 2}]`},
		{`{"type":1,"type":2}`, `2`},
		{`{"a":{"type":1},"b":[{"type":2}],"c":"type"}`, ``},
		{`{"t\u0079pe":"escaped"}`, `"escaped"`},
		{`{"a":"\"type\":1,\\","type":null}`, `null`},
		{`{}`, ``},
	} {
		got, err := jsonfield.Find([]byte(tt.data), "type", generous)
		require.NoError(t, err, tt.data)
		assert.Equal(t, tt.want, string(got), tt.data)
	}
}

func TestFindRefusesOtherValues(t *testing.T) {
	for _, data := range []string{`[]`, `"{"`, `1`, ` null`} {
		_, err := jsonfield.Find([]byte(data), "type", generous)
		assert.EqualError(t, err, "it is not a JSON object", data)
	}
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		data   string
		limits jsonfield.Limits
		want   string
	}{
		{`{"a":[[]]}`, jsonfield.Limits{MaxDepth: 3, MaxValues: 100}, ""},
		{`{"a":[[]]}`, jsonfield.Limits{MaxDepth: 2, MaxValues: 100}, "it is nested deeper than MaxDepth, 2"},
		{`{"a":1,"b":2}`, jsonfield.Limits{MaxDepth: 9, MaxValues: 2}, ""},
		{`{"a":1,"b":2,"c":3}`, jsonfield.Limits{MaxDepth: 9, MaxValues: 2}, "it has more values than MaxValues, 2"},
		{`{"a":[1,2,3]}`, jsonfield.Limits{MaxDepth: 9, MaxValues: 3}, "it has more values than MaxValues, 3"},
	} {
		_, err := jsonfield.Find([]byte(tt.data), "type", tt.limits)
		if tt.want == "" {
			assert.NoError(t, err, tt.data)
		} else {
			assert.EqualError(t, err, tt.want, tt.data)
		}
	}
}

// FuzzFind compares Find with encoding/json.
func FuzzFind(f *testing.F) {
	for _, seed := range []string{`{"type":"chat"}`, `{"a":{"type":1},"type":[1,{"type":2}]}`, `{"t\u0079pe":"\"}{"}`, `[1]`, `{"type":1,"type":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		limits := jsonfield.Limits{MaxDepth: len(data) + 1, MaxValues: len(data) + 1}
		got, err := jsonfield.Find(data, "type", limits)
		var fields map[string]json.RawMessage
		if !strings.HasPrefix(strings.TrimLeft(string(data), " \t\r\n"), "{") {
			assert.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &fields))
		want, ok := fields["type"]
		require.Equal(t, ok, got != nil)
		assert.True(t, bytes.Equal(bytes.TrimSpace(want), got), "%s instead of %s", got, want)
	})
}
