package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// Group d: Durable Objects. The calls and events of an object are one stream, since its events run one at a time; its lines name the
// sockets that it has accepted. Sockets that belong to no object have streams of their own.

// ordinary are the names of the latter in the traces.
var ordinary = map[string]bool{"a": true, "c": true, "plain": true}

// expectObject returns the recorded transcript.
func expectObject(s *scenario) transcript {
	t := make(transcript)
	phase, upgraded := 0, make(map[string]bool)
	for i := range s.Trace {
		e := &s.Trace[i]
		switch {
		case e.Op == "settle":
			phase++
		case e.Lane == "do":
			t.expectObject(s, e, phase)
		case e.Op == "do-fetch-result":
			var body string
			_ = json.Unmarshal(e.Body, &body)
			t.add("fetch", phase, "%s", describeAnswer(e.Status, nil, body, false))
		case e.Op == "http-response":
			upgraded[e.Lane] = e.Status == http.StatusSwitchingProtocols
			var body string
			_ = json.Unmarshal(e.Body, &body)
			t.add(e.Lane, phase, "%s", describeAnswer(e.Status, e.Headers, body, false))
		case e.Op == "recv-frame":
			t.add(e.Lane, phase, "%s", e.describeFrame())
		case e.Op == "value":
			t.add(e.Lane, phase, "%s: %s", e.What, e.Value.show())
		case e.Op == "tcp" && strings.HasSuffix(e.Event, "received") && upgraded[e.Lane]:
			upgraded[e.Lane] = false
			t.add(e.Lane, phase, "%s", e.describeTCP())
		}
	}
	t.ignoreReasons(s)
	return t
}

// expectObject writes an entry of the object's lane.
func (t transcript) expectObject(s *scenario, e *entry, phase int) {
	if e.Op == "wait" {
		for name, rs := range e.RS {
			t.add(streamOf(name), phase, "%sthen rs=%d", labelOf(name), rs)
		}
		return
	}
	if e.Op == "do" && objectScripts[s.ID].omits(e.What) || e.Op == "call" && e.inexpressible() {
		return
	}
	if text := e.describeObject(); text != "" {
		name := e.Target + e.Socket
		t.add(streamOf(name), phase, "%s%s", labelOf(name), text)
		t.withOthers(streamOf(name), e)
	}
}

func streamOf(name string) string {
	if ordinary[name] {
		return name
	}
	return "object"
}

func labelOf(name string) string {
	if name == "" || ordinary[name] {
		return ""
	}
	return name + ": "
}

// describeObject describes a call or an event of an object; "" if it has no counterpart in Go.
func (e *entry) describeObject() string {
	switch e.Op {
	case "constructor":
		return fmt.Sprintf("constructor %d with %d sockets", e.Instance, e.Sockets)
	case "fetch-handler":
		return "fetch"
	case "handler":
		return e.describeHandler()
	case "handler-end":
		return e.Handler + " is over"
	case "do":
		return e.What + " → " + e.outcomeOf()
	case "value":
		if strings.HasSuffix(e.What, " props") { // url is null, and binaryType does not exist in Go
			i := e.Value.Items
			return fmt.Sprintf("%s: [%s %q %q %q]", e.What, i[0].show(), i[1].text(), i[2].text(), i[3].text())
		}
		return e.What + ": " + e.Value.show()
	case "note":
		return e.Text
	case "call":
		if strings.HasSuffix(e.Method, "serializeAttachment") {
			return e.describeAttachment()
		}
	}
	return e.describeSocket(false)
}

func (e *entry) describeHandler() string {
	switch e.Handler {
	case "webSocketMessage":
		return fmt.Sprintf("message %s rs=%d", e.Data.describe(), e.RS[e.Socket])
	case "webSocketClose":
		return fmt.Sprintf("%s rs=%d", describeClose(e.Code, e.Reason, e.WasClean), e.RS[e.Socket])
	case "webSocketError":
		return fmt.Sprintf("error: %s rs=%d", jsCause(e.Message, false), e.RS[e.Socket])
	}
	return fmt.Sprintf("alarm with %d sockets", e.Sockets)
}

func (e *entry) describeAttachment() string {
	if e.Method == "serializeAttachment" {
		return fmt.Sprintf("attach %s → %s", e.Args[0].show(), e.outcome())
	}
	return "attached: " + e.Result.show()
}

// outcomeOf returns the outcome and the result of a call.
func (e *entry) outcomeOf() string {
	if !e.OK || e.Result.Type == "" || e.Result.Type == "undefined" {
		return e.outcome()
	}
	return e.Result.show()
}

// show formats a value as the function show formats those of Go.
func (v value) show() string {
	switch v.Type {
	case "string":
		return fmt.Sprintf("%q", v.text())
	case "array":
		var items []string
		for _, item := range v.Items {
			items = append(items, item.show())
		}
		return "[" + strings.Join(items, " ") + "]"
	case "object":
		return v.JSON
	case "socket":
		return fmt.Sprintf("%s/%d", v.Name, v.ReadyState)
	case "Date":
		return "a time"
	case "null", "undefined":
		return "nothing"
	case "error":
		return (&entry{Error: &jsError{v.Name, v.Message}}).outcome()
	}
	return fmt.Sprint(v.Value)
}

// show formats the result of a method of edgews.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case error:
		return outcome(v)
	case string:
		return fmt.Sprintf("%q", v)
	case []string:
		return fmt.Sprintf("%q", v)
	case json.RawMessage:
		return string(v)
	case rawText:
		return string(v)
	case time.Time:
		return "a time"
	case edgews.AutoResponse:
		return show([]string{v.Request, v.Response})
	}
	return fmt.Sprint(v)
}
