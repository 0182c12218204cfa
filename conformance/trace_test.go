package conformance_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// scenario is one recording of the real runtime.
type scenario struct {
	ID    string
	Mode  string
	Title string
	Trace []entry

	// Variants are other recordings of a scenario whose results vary.
	Variants [][]entry
}

// unknownStep fails the test, since a step that is not replayed, or a result that is not compared, would not be tested.
func (e *entry) unknownStep(t *testing.T) {
	t.Helper()
	t.Errorf("unknown step: lane %q, op %q, target %q, method %q, property %q, what %q, text %q", e.Lane, e.Op, e.Target, e.Method, e.Prop, e.What, e.Text)
}

// group returns the scenario's letter: a (pairs), b (server), c (outbound) or d (objects).
func (s *scenario) group() string { return s.ID[:1] }

// halfOpen reports whether accept() means AcceptHalfOpen in the scenario's mode: before the compatibility date 2026-04-07 the runtime
// did not answer a Close automatically.
func (s *scenario) halfOpen() bool { return s.Mode == "manual" || s.Mode == "legacy" }

// uncompressed reports whether the mode has no permessage-deflate.
func (s *scenario) uncompressed() bool { return s.Mode == "nocomp" || s.Mode == "legacy" }

// entry is one recorded action or event. Op determines which fields are set.
type entry struct {
	Lane, Op string

	Target, Method, Prop, What, Text, Note string
	Args                                   []value
	OK                                     bool
	Error                                  *jsError
	RS                                     map[string]int
	MS                                     int
	Value, Result                          value

	Type     string // of an event
	Data     value
	Code     int
	Reason   string
	WasClean bool
	Message  string

	Request     request
	RequestLine string
	Status      int
	Headers     []string
	Body        json.RawMessage
	WebSocket   *string

	Opcode, Hex, LenForm   string
	Inflated               *string
	Fin, Masked            bool
	RSV1, RSV2, RSV3       bool
	Length                 int
	Bytes                  string
	Event                  string // of the TCP connection
	Opts                   serverScript
	textGiven, reasonGiven bool

	Handler, Socket   string // of an object: the event's handler and its socket
	Instance, Sockets int
	Actions           []operation // of a plain request
}

// UnmarshalJSON also records which fields are present, if an empty one differs from a missing one.
func (e *entry) UnmarshalJSON(b []byte) error {
	type plain entry
	var given map[string]json.RawMessage
	if err := json.Unmarshal(b, &given); err != nil {
		return err
	}
	if string(given["op"]) == `"handler"` {
		return e.unmarshalHandler(b)
	}
	if _, number := given["lenForm"]; number {
		given["lenForm"] = json.RawMessage(`"` + strings.Trim(string(given["lenForm"]), `"`) + `"`)
		b, _ = json.Marshal(given)
	}
	if err := json.Unmarshal(b, (*plain)(e)); err != nil {
		return err
	}
	_, e.textGiven = given["text"]
	_, e.reasonGiven = given["code"]
	return nil
}

// unmarshalHandler decodes the entry of an object's handler, whose arguments were recorded as values.
func (e *entry) unmarshalHandler(b []byte) error {
	var h struct {
		Lane, Handler, Socket        string
		Instance, Sockets            int
		Data, Code, Reason, WasClean value
		Error                        jsError
		RS                           map[string]int
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return err
	}
	clean, _ := h.WasClean.Value.(bool)
	*e = entry{
		Lane: h.Lane, Op: "handler", Handler: h.Handler, Socket: h.Socket, Instance: h.Instance, Sockets: h.Sockets, RS: h.RS,
		Data: h.Data, Code: h.Code.number(), Reason: h.Reason.text(), WasClean: clean, Message: h.Error.Message,
	}
	return nil
}

type request struct {
	Method, Version string
	Headers         []string
}

type jsError struct{ Name, Message string }

// value is a JavaScript value.
type value struct {
	Type       string
	Value      any
	Length     int // of a long string
	UTF8Length int
	Head       string
	ByteLength int
	Size       int // of a Blob
	Hex        string
	HeadHex    string
	JSON       string
	Items      []value

	Name       string // of a socket, or an error
	Message    string // of an error
	ReadyState int    // of a socket
}

// text returns a string's text, generated if only its head was recorded.
func (v value) text() string {
	if s, ok := v.Value.(string); ok {
		return s
	}
	if v.Length > 0 {
		return strings.Repeat(v.Head[:1], v.Length)
	}
	return ""
}

// bytes returns a buffer's bytes, generated if only its head was recorded.
func (v value) bytes() []byte {
	n := max(v.ByteLength, v.Size)
	if v.Hex != "" || n == 0 {
		b, _ := hex.DecodeString(v.Hex)
		return b
	}
	head, _ := hex.DecodeString(v.HeadHex)
	b := make([]byte, n)
	if len(head) > 0 && head[0] != 0 {
		for i := range b {
			b[i] = head[0]
		}
	}
	return b
}

func (v value) isText() bool { return v.Type == "string" }

// plain returns the value as Go's values are printed.
func (v value) plain() any {
	if v.Items == nil {
		return v.Value
	}
	var items []any
	for _, item := range v.Items {
		items = append(items, item.plain())
	}
	return items
}

// number returns a close code, 0 for undefined and null.
func (v value) number() int {
	n, _ := v.Value.(float64)
	return int(n)
}

// describe formats the value like a message in a transcript.
func (v value) describe() string {
	if v.isText() {
		return describeText(v.text())
	}
	return describeBinary(v.bytes())
}

// describeText formats a text. A long text is only its length, since the traces have no more of frames.
func describeText(s string) string {
	if utf8.RuneCountInString(s) > 200 {
		return fmt.Sprintf("text of %d bytes", len(s))
	}
	return fmt.Sprintf("%q", s)
}

func describeBinary(b []byte) string {
	if len(b) > 64 {
		return fmt.Sprintf("binary of %d bytes", len(b))
	}
	return fmt.Sprintf("0x%x", b)
}

// loadScenarios reads the recordings of one group.
func loadScenarios(t *testing.T, group string) []*scenario {
	t.Helper()
	file, err := os.ReadFile("testdata/oracle/" + group + ".json")
	require.NoError(t, err)
	var all []*scenario
	require.NoError(t, json.Unmarshal(file, &all))
	for _, s := range all {
		for _, v := range s.Variants { // the number of bytes that a client could read before a reset varies: the largest is used
			if len(v) > len(s.Trace) {
				s.Trace = v
			}
		}
	}
	return all
}
