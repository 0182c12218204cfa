package conformance_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// deviationNumber is the index of a deviation in the list of doc.go.
type deviationNumber int

// The list of doc.go, "Deviations".
const (
	atIdentifier deviationNumber = iota
	strictWire
	errClosed
	oneCloseEvent
	hibernatingReply
	listenerPanic
	framesSurvive
	serialEvents
	keepAlive
	moreForObjects
	boundedQueues
)

var deviationTexts = [...]string{
	atIdentifier:     "none of the ten: documented at the identifier",
	strictWire:       "the wire is RFC-strict, and so is the handshake",
	errClosed:        "Send, Write and Close on a dead socket return ErrClosed; nothing is ignored silently",
	oneCloseEvent:    "exactly one close event, always last; no socket stays CLOSING for ever",
	hibernatingReply: "the Close reply is automatic for hibernating sockets too",
	listenerPanic:    "a panic in a listener closes that socket with 1011",
	framesSurvive:    "frames queued before hibernation are never lost",
	serialEvents:     "events of one object run strictly one at a time",
	keepAlive:        "server-side keep-alive is on by default",
	moreForObjects:   "several auto-responses, tags that can be changed, reasons for being awake",
	boundedQueues:    "queues are bounded by bytes",
}

// deviation is an intended difference in one or more scenarios.
type deviation struct {
	ids    string // ids or patterns of scenarios, separated by spaces
	by     deviationNumber
	what   string
	change func(transcript) // turns the recorded transcript into the one of edgews
}

func (d *deviation) covers(id string) bool {
	for pattern := range strings.FieldsSeq(d.ids) {
		if ok, _ := path.Match(pattern, id); ok {
			return true
		}
	}
	return false
}

// named returns the ids that are not patterns. These scenarios must need the deviation.
func (d *deviation) named() []string {
	return slices.DeleteFunc(strings.Fields(d.ids), func(id string) bool { return strings.Contains(id, "*") })
}

// deviations are all differences between edgews and the runtime.
var deviations = slices.Concat(objectDeviations, socketDeviations)

// socketDeviations are the deviations in groups a, b and c, and those in all groups. Particular ones come first: those for all
// scenarios are then applied to their result.
var socketDeviations = []deviation{
	// Handshakes.
	{"b-hs-no-upgrade-but-connection", strictWire, "a request without an upgrade is answered with 426", answered("http 426 for version 13")},
	{"b-hs-upgrade-list", strictWire, "Upgrade is a list, in which websocket may be one of several",
		answered("http 101 connection: Upgrade | sec-websocket-accept: <correct> | upgrade: websocket")},
	{"b-hs-key-not-base64 b-hs-key-twice", strictWire, "the key is 16 bytes in base64, once", answered("http 400")},
	{"b-hs-version-12 b-hs-version-8 b-hs-version-list", oneCloseEvent, "a pair ends if an end of it is refused in a response", refusedPairEnds(426)},
	{"b-hs-key-missing", oneCloseEvent, "a pair ends if an end of it is refused in a response", refusedPairEnds(400)},
	{"b-hs-post", strictWire, "a method other than GET is answered with 405", answered("http 405")},
	{"b-hs-http10", strictWire, "HTTP/1.0 has no Upgrade", answered("http 400")},
	{"b-hs-proto-not-offered", strictWire, "a subprotocol that the client did not offer is not chosen",
		swap("client", "http 101 connection: Upgrade | sec-websocket-accept: <correct> | sec-websocket-protocol: other | upgrade: websocket",
			"http 101 connection: Upgrade | sec-websocket-accept: <correct> | upgrade: websocket")},
	{"c-proto-unasked c-proto-two-chosen", strictWire, "an answer with a subprotocol that was not asked for, or with two, fails", subprotocolRefused},
	{"c-bad-accept c-no-upgrade c-ext-unknown c-ext-bad-param", atIdentifier, "NewWebSocket names the fault of a 101 instead of saying 502",
		swap("w", "error: handshake 502 rs=3", "error: handshake 101 rs=3")},
	{"c-fetch-bad-accept", atIdentifier, "Dial returns the answer as it was, with the fault as an error, instead of a 502",
		becomes("fetch", 0, "response http 101 …")},
	{"c-fetch-upgrade c-fetch-upgrade@*", atIdentifier, "a socket from Dial has the URL it was dialed with", swap("w", `url ""`, `url "http://…/echo"`)},
	{"c-fetch-protocol", atIdentifier, "a socket from Dial has the negotiated subprotocol", swap("w", `protocol ""`, `protocol "chat"`)},

	// Pass-through.
	{"c-pass-no-deflate c-pass-deflate", atIdentifier, "Proxy passes on what the client offers, not an offer of its own",
		offerPassedOn},
	{"c-pass-client-rst", atIdentifier, "a reset is passed on as a reset", swap("origin", "connection ended", "connection reset")},

	// Ends that cannot be used.
	{"a-return-accepted-end a-return-hibernated", atIdentifier, "an end that cannot be used in a response is answered with 500, not with a 101 and the end",
		all(swap("fetch", "response 101", "response 500"), becomes("c", 0))},
	{"a-end-used-in-response-then-accept", atIdentifier, "an end that a response has used returns an error that says so", becomes("a", 0,
		`send("x") → ErrUsed rs=1`, `close(1000, "") → ErrUsed rs=1`, "accept() → ErrUsed rs=1", "readyState 1", "new Response with it → ErrUsed")},

	{"a-listener-remove-earlier-during-dispatch", atIdentifier, "a function that is removed and added again is a new listener, " +
		"whose first event is the next one", swap("notes", "l1 2")},

	// The wire.
	{"b-ping-after-close", strictWire, "a ping is answered until the peer's Close has been received", also("client", `recv pong "late"`)},
	{"b-bad-unmasked", strictWire, "frames of a client must be masked", failsWith(1002)},
	{"b-bad-ping-126", strictWire, "a control frame has at most 125 bytes", failsWith(1002)},
	{"b-len-nonminimal-16", strictWire, "a length must be in its shortest form", failsWith(1002)},
	{"b-bad-len-high-bit", strictWire, "the most significant bit of a length must be 0", failsWith(1002)},
	{"b-deflate-rsv1-on-continuation", strictWire, "RSV1 is allowed only on the first frame of a message", failsWith(1002)},
	{"b-bad-utf8 b-bad-utf8-surrogate b-bad-utf8-overlong b-deflate-bad-utf8", strictWire, "text must be UTF-8", failsWith(1007)},
	{"b-bad-utf8-in-first-fragment", strictWire, "text must be UTF-8, and a fragment may already be invalid", failsWith(1007)},
	{"b-client-close-wire-0 b-client-close-wire-1005 b-client-close-wire-1006 b-client-close-wire-1015 b-client-close-wire-1016 " +
		"b-client-close-wire-2000 b-client-close-wire-2999 b-client-close-wire-65535", strictWire, "these status codes may not be sent", failsWith(1002)},
	{"b-client-close-1-byte", strictWire, "a Close payload of one byte is invalid", failsWith(1002)},
	{"b-client-close-reason-bad-utf8", strictWire, "a reason must be UTF-8", failsWith(1007)},
	{"b-ping-burst", atIdentifier, "every ping is answered, not only the last of several (RFC 6455 §5.5.3 permits both)", pongForEveryPing},
	{"c-server-close-5000", strictWire, "this status code must not be sent", all(
		swap("w", `close 5000 "x" clean rs=3`, "error: protocol 1002 rs=3"),
		swap("origin", `recv close 5000 "x" masked`, `recv close 1002 "…" masked`))},
	{"c-server-bad-utf8", strictWire, "text must be UTF-8", all(
		swap("w", `message "a�" rs=1`, "error: protocol 1007 rs=3"), deadFrom("w", "error: protocol 1007 rs=3"),
		swap("origin", `recv text "after" masked`, `recv close 1007 "…" masked`, "connection ended"))},
	{"b-ext-* b-deflate-*", atIdentifier, "a message is sent compressed only if that makes it shorter", notDeflated},
	{"b-deflate-context-takeover", atIdentifier, "a message that was sent uncompressed is not in the history", all(
		swap("client", foxTextDeflated, foxText), swap("client", foxTextDeflated, foxText))},
	{"b-size-33mib-text", strictWire, "the rest of what a failed client sends is read, so that no reset destroys the Close on its way " +
		"(RFC 6455 §7.1.1)", swap("client", connectionReset, connectionEnded)},

	// Closing.
	{"b-server-close-no-reply b-server-close-no-reply@manual b-server-close-no-reply-60s", oneCloseEvent,
		"a peer that does not answer our Close is cut after CloseTimeout", all(
			swap("b", `message "still talking" rs=2`),
			also("b", `close 1006 "WebSocket disconnected without sending Close frame." unclean rs=3`),
			also("client", "connection ended"))},
	{"b-client-close-halfopen-never b-client-close-empty@manual b-client-close-1000@manual", oneCloseEvent,
		"a half-open socket whose peer hangs up is cut after CloseTimeout", also("client", "connection ended")},
	{"b-client-rst-then-server-sends", errClosed, "a handler goes on after the client has reset the connection, and gets an error", also("b",
		"readyState 3", `send("anyone?") → ErrClosed rs=3`, "readyState 3", `send("hello?") → ErrClosed rs=3`,
		`close(1000, "x") → ErrClosed rs=3`, "readyState 3")},
	{"b-client-rst-while-server-sends-much", errClosed, "a handler goes on after the client has gone, and is told; the error " +
		"event comes if the failed write is noticed before the reset", all(
		swap("b", "error: connection lost rs=3", "? error: connection lost rs=3"),
		also("b", "readyState 3", `send("later") → ErrClosed rs=3`, "readyState 3"))},

	// Panics.
	{"a-after-error a-after-error@manual", listenerPanic, "the socket is CLOSED in its error event already", all(
		swap("a", `message "in error handler" rs=1`),
		swap("b", `close(1011, "in error handler") → boom rs=3`, `close(1011, "in error handler") → ErrClosed rs=3`))},
	{"a-after-error a-after-error@manual", errClosed, "a second Accept is a no-op, also on a dead socket",
		swap("b", "accept() → ErrUsed rs=3", "accept() → ok rs=3")},
	{"a-handler-throws-error a-handler-throws-nonerror a-two-handlers-throw a-after-error " +
		"a-after-error@manual b-handler-throws b-handler-throws@manual c-throw-in-open-handler", listenerPanic,
		"a panic closes with 1011, which the peer is told", panicCloses},
	{"a-after-error@manual", listenerPanic, "the half-open peer receives a Close, and is CLOSED after that event", closedWhileHalfOpen},

	// Everywhere.
	{"*", oneCloseEvent, "a failed connection has a close event too, with the code that was sent", failureCloses},
	{"*", errClosed, "send() and close() on a dead socket return an error", closedCallsFail},
	{"*", oneCloseEvent, `no "Network connection lost." after the close event`, nothingAfterClose},
	{"*", oneCloseEvent, "a socket whose connection was lost is CLOSED in its close event and after it", lostIsClosed},
}

// betweenSockets are scenarios in which the events of different sockets have another order than in JavaScript's single thread, because
// each socket's events are delivered by a goroutine of its own. The events of one socket are in order, see [edgews.Socket.OnMessage].
var betweenSockets = map[string]bool{
	"a-size-1mib-binary": true, "a-size-32mib-binary": true, "a-size-32mib-plus-1-binary": true, "a-size-33mib-text": true,
	"a-close-crossing": true, "a-close-crossing@manual": true, "a-order-two-pairs": true, "a-stub-plain-echo": true,
}

// otherStates has the states of other sockets that differ from the recording.
var otherStates = map[string][]string{
	// No socket stays CLOSING: an end is CLOSED after the close event that follows a failure of the other end.
	"a-after-error": {"a 3 not 2"}, "a-after-error@manual": {"a 3 not 2"},
	// Their events come in another order.
	"a-close-crossing": {"a 3 not 2", "b 2 not 3"}, "a-close-crossing@manual": {"a 3 not 2", "b 2 not 3"},
}

const (
	foxText         = `recv text "the quick brown fox jumps over the lazy dog"`
	foxTextDeflated = foxText + deflated
)

var (
	okClose     = regexp.MustCompile(`^close\(.*\) → ok `)
	closeEvent  = regexp.MustCompile(`^close \d+ .*clean rs=`)
	lossEvent   = regexp.MustCompile(`^close 1006 .* unclean rs=\d$`)
	errorEvent  = regexp.MustCompile(`^error: (.*) rs=\d$`)
	failure     = regexp.MustCompile(`^error: protocol (\d+) rs=3$`)
	stateSuffix = regexp.MustCompile(`(rs=|readyState )\d$`)
)

// closedCallsFail makes calls fail after close(), after a close event that left the socket CLOSED, and after an error.
func closedCallsFail(t transcript) {
	for _, lines := range t {
		dead := false
		for i, l := range lines {
			switch {
			case dead && (strings.HasPrefix(l.text, "send(") || strings.HasPrefix(l.text, "close(")):
				lines[i].text = strings.Replace(l.text, "→ ok ", "→ ErrClosed ", 1)
			case okClose.MatchString(l.text), errorEvent.MatchString(l.text), lossEvent.MatchString(l.text),
				closeEvent.MatchString(l.text) && !strings.HasSuffix(l.text, "rs=2"):
				dead = true
			}
		}
	}
}

func nothingAfterClose(t transcript) {
	for stream, lines := range t {
		var kept []line
		over := false
		for _, l := range lines {
			if over && strings.HasPrefix(l.text, "error: connection lost ") {
				continue
			}
			over = over || closeEvent.MatchString(l.text)
			kept = append(kept, l)
		}
		t[stream] = kept
	}
}

func lostIsClosed(t transcript) {
	for _, lines := range t {
		lost := false
		for i, l := range lines {
			lost = lost || lossEvent.MatchString(l.text)
			if lost {
				lines[i].text = stateSuffix.ReplaceAllString(l.text, "${1}3")
			}
		}
	}
}

func failureCloses(t transcript) {
	for stream, lines := range t {
		for i, l := range lines {
			if m := failure.FindStringSubmatch(l.text); m != nil {
				event := line{phase: l.phase, text: "close " + m[1] + ` "…" unclean rs=3`}
				t[stream] = append(append(append([]line(nil), lines[:i+1]...), event), lines[i+1:]...)
				break
			}
		}
	}
}
