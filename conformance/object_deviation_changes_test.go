package conformance_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Functions of the table of deviations for the streams of objects, whose lines name the sockets.

var (
	objectLine    = regexp.MustCompile(`^(\w+): (.*)$`)
	peerClosed    = regexp.MustCompile(`^\w+: close (\d+) (".*") clean rs=2$`)
	objectFailure = regexp.MustCompile(`^(\w+: )error: protocol (\d+) rs=\d$`)
)

// swapLast is swap for the last line that equals old.
func swapLast(stream, old, text string) func(transcript) {
	return func(t transcript) {
		for i, l := range slices.Backward(t[stream]) {
			if l.text == old {
				t[stream][i].text = text
				return
			}
		}
	}
}

// objectFailsWith is a socket that fails with a code, instead of its recorded third line.
func objectFailsWith(code int) func(transcript) {
	return func(t transcript) {
		lines := t["object"]
		end := slices.IndexFunc(lines, func(l line) bool { return l.text == "fetch" })
		failed := line{phase: lines[2].phase, text: fmt.Sprintf("c1: error: protocol %d rs=2", code)}
		t["object"] = slices.Concat(lines[:2], []line{failed}, lines[end:])
	}
}

// closeAnswered adds the answer to a Close that the handler has not answered: the same Close.
func closeAnswered(t transcript) {
	lines := t["object"]
	i := slices.IndexFunc(lines, func(l line) bool { return peerClosed.MatchString(l.text) })
	if i < 0 || len(t["client"]) == 0 || t.has("client", "recv close ") {
		return
	}
	m := peerClosed.FindStringSubmatch(lines[i].text)
	t.endClient(lines[i].phase, closeOnWire(m[1], m[2]))
}

// closeOnWire returns the answer to a Close with this code. 1005 stands for an empty Close.
func closeOnWire(code, reason string) string {
	if code == "1005" {
		return `recv close ""`
	}
	return fmt.Sprintf("recv close %s %s", code, reason)
}

func (t transcript) has(stream, prefix string) bool {
	return slices.ContainsFunc(t[stream], func(l line) bool { return strings.HasPrefix(l.text, prefix) })
}

// endClient ends the client's stream with these lines and the end of the connection.
func (t transcript) endClient(phase int, texts ...string) {
	kept := slices.DeleteFunc(t["client"], func(l line) bool { return l.text == "connection ended" })
	t["client"] = append(kept, inPhase(phase, append(texts, "connection ended"))...)
}

// objectFailureCloses inserts a close event after the calls of the error handler.
func objectFailureCloses(t transcript) {
	lines := t["object"]
	i := slices.IndexFunc(lines, func(l line) bool { return objectFailure.MatchString(l.text) })
	if i < 0 {
		return
	}
	end := i + 1
	for end < len(lines) && lines[end].text != "fetch" {
		end++
	}
	m := objectFailure.FindStringSubmatch(lines[i].text)
	event := line{phase: lines[i].phase, text: m[1] + "close " + m[2] + ` "…" unclean rs=3`}
	t["object"] = slices.Insert(slices.Clone(lines), end, event)
	t.endClient(lines[i].phase)
}

// objectLostIsClosed corrects the ready states of a socket that has failed or whose connection was lost, also in lists.
func objectLostIsClosed(t transcript) {
	lost := ""
	for i, l := range t["object"] {
		m := objectLine.FindStringSubmatch(l.text)
		if m != nil && (objectFailure.MatchString(l.text) || lossEvent.MatchString(m[2])) {
			lost = m[1]
		}
		switch {
		case lost == "":
		case m != nil && m[1] == lost:
			t["object"][i].text = stateSuffix.ReplaceAllString(l.text, "${1}3")
		default:
			t["object"][i].text = strings.ReplaceAll(l.text, lost+"/2", lost+"/3")
		}
	}
}

// objectClosedCallsFail is closedCallsFail for objects.
func objectClosedCallsFail(t transcript) {
	dead := make(map[string]bool)
	for i, l := range t["object"] {
		m := objectLine.FindStringSubmatch(l.text)
		if m == nil {
			continue
		}
		name, text := m[1], m[2]
		switch {
		case dead[name] && (strings.HasPrefix(text, "send(") || strings.HasPrefix(text, "close(")):
			t["object"][i].text = strings.Replace(l.text, "→ ok ", "→ ErrClosed ", 1)
		case okClose.MatchString(text), errorEvent.MatchString(text), lossEvent.MatchString(text):
			dead[name] = true
		}
	}
}
