package conformance_test

import (
	"fmt"
	"slices"
	"strings"
)

// Functions of the table of deviations. They turn the recorded transcript into the one of edgews.

// swap replaces the first line of a stream that equals old by other lines of the same phase.
func swap(stream, old string, lines ...string) func(transcript) {
	return func(t transcript) {
		i := slices.IndexFunc(t[stream], func(l line) bool { return l.text == old })
		if i < 0 {
			return
		}
		by := inPhase(t[stream][i].phase, lines)
		if len(by) > 0 { // with the index of the recorded line
			by[0].seq, by[0].others = t[stream][i].seq, t[stream][i].others
		}
		t[stream] = slices.Replace(slices.Clone(t[stream]), i, i+1, by...)
	}
}

func inPhase(phase int, texts []string) []line {
	lines := make([]line, len(texts))
	for i, text := range texts {
		lines[i] = line{phase: phase, text: text}
	}
	return lines
}

// becomes replaces the lines of a stream from the nth on.
func becomes(stream string, n int, lines ...string) func(transcript) {
	return func(t transcript) {
		kept, phase := t[stream], lastPhase
		if n < len(kept) {
			kept, phase = kept[:n], kept[n].phase
		}
		t[stream] = append(slices.Clone(kept), inPhase(phase, lines)...)
	}
}

// also appends lines to a stream.
func also(stream string, lines ...string) func(transcript) {
	return func(t transcript) { t[stream] = append(slices.Clone(t[stream]), inPhase(lastPhase, lines)...) }
}

func all(changes ...func(transcript)) func(transcript) {
	return func(t transcript) {
		for _, change := range changes {
			change(t)
		}
	}
}

// answered is a handshake with another answer. The transcript then has only the answer and an accept. A refusal ends the pair.
func answered(how string) func(transcript) {
	var status int
	_, _ = fmt.Sscanf(how, "http %d", &status) // how is a constant of the table
	if status == 101 {
		return all(becomes("client", 0, how), becomes("b", 1))
	}
	return all(becomes("client", 0, how), becomes("b", 1), refusedPairEnds(status))
}

// refusedPairEnds is the end of a pair whose other end was refused in a response.
func refusedPairEnds(status int) func(transcript) {
	return also("b", fmt.Sprintf("error: handshake %d rs=3", status),
		`close 1006 "WebSocket disconnected without sending Close frame." unclean rs=3`)
}

// failsWith is a connection that fails with a code at the client's first violation.
func failsWith(code int) func(transcript) {
	return all(
		becomes("b", 1, fmt.Sprintf("error: protocol %d rs=3", code)),
		becomes("client", 1, fmt.Sprintf(`recv close %d "…"`, code), "connection ended"))
}

// deadFrom makes a socket CLOSED after a line: its state, and the results of calls.
func deadFrom(stream, after string) func(transcript) {
	return func(t transcript) {
		dead := false
		for i, l := range t[stream] {
			if dead {
				text := stateSuffix.ReplaceAllString(l.text, "${1}3")
				t[stream][i].text = strings.Replace(text, "→ ok ", "→ ErrClosed ", 1)
			}
			dead = dead || l.text == after
		}
	}
}

func subprotocolRefused(t transcript) {
	swap("w", "open rs=1", "error: handshake 101 rs=3", `close 1006 "Failed to establish websocket connection" unclean rs=3`)(t)
	swap("w", `protocol "chat"`, `protocol ""`)(t)
	swap("w", `protocol "chat, superchat"`, `protocol ""`)(t)
	deadFrom("w", "error: handshake 101 rs=3")(t)
	also("origin", "connection ended")(t)
}

func pongForEveryPing(t transcript) {
	pongs := []string{}
	for i := range 20 {
		pongs = append(pongs, fmt.Sprintf(`recv pong "p%d"`, i))
	}
	becomes("client", 1, pongs...)(t)
}

func notDeflated(t transcript) {
	for i, l := range t["client"] {
		t["client"][i].text = strings.Replace(l.text, deflatedInVain, "", 1)
	}
}

// panicCloses adds a close event for the socket whose listener has panicked, and a Close with 1011 for the other side.
func panicCloses(t transcript) {
	for stream, lines := range t {
		i := slices.IndexFunc(lines, func(l line) bool { return strings.HasPrefix(l.text, "error: listener: ") })
		switch {
		case i >= 0:
			t[stream] = closedByPanic(lines, i)
		case stream == "client":
			swap(stream, "connection ended", `recv close 1011 "internal error"`, "connection ended")(t)
		case stream == "origin":
			swap(stream, "connection ended", `recv close 1011 "internal error" masked`, "connection ended")(t)
		default:
			peerClosedByPanic(t, stream)
		}
	}
}

// closedByPanic inserts the close event after the calls of the error listener.
func closedByPanic(lines []line, i int) []line {
	end := i + 1
	for end < len(lines) && !strings.HasPrefix(lines[end].text, "then ") && !closeEvent.MatchString(lines[end].text) {
		end++
	}
	rest := lines[end:]
	if len(rest) > 0 && closeEvent.MatchString(rest[0].text) {
		rest = rest[1:]
	}
	return slices.Concat(lines[:end], []line{{phase: lines[i].phase, text: `close 1011 "internal error" unclean rs=3`}}, rest)
}

// peerClosedByPanic changes the stream of the pair's other end.
func peerClosedByPanic(t transcript, stream string) {
	for _, l := range t[stream] {
		switch {
		case strings.HasPrefix(l.text, "error: connection lost "):
			swap(stream, l.text)(t)
		case lossEvent.MatchString(l.text):
			swap(stream, l.text, `close 1011 "internal error" clean rs=3`)(t)
		}
	}
	deadFrom(stream, `close 1011 "internal error" clean rs=3`)(t)
}

// closedWhileHalfOpen is a half-open end of a pair whose other end has failed: it is CLOSING in its close event, and CLOSED after it.
func closedWhileHalfOpen(t transcript) {
	swap("a", `close 1011 "internal error" clean rs=3`, `close 1011 "internal error" clean rs=2`)(t)
}

// offerPassedOn is a request to the origin with the client's offer of compression.
func offerPassedOn(t transcript) {
	for i := range t["origin"] {
		l := &t["origin"][i]
		l.text = strings.Replace(l.text, "permessage-deflate…client_max_window_bits=15…", "permessage-deflate; client_max_window_bits", 1)
	}
}
