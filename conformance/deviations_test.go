package conformance_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// licence is the number of the deviation that edgews allows itself.
type licence int

// The list of doc.go, "Deviations".
const (
	atIdentifier licence = iota
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

var licences = [...]string{
	atIdentifier:     "none of the ten: said at the identifier concerned",
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

// deviation is one difference that is meant, for one or several scenarios.
type deviation struct {
	ids    string // scenarios: ids or patterns, separated by blanks
	by     licence
	what   string
	change func(transcript) // turns what was recorded into what edgews does
}

func (d *deviation) covers(id string) bool {
	for pattern := range strings.FieldsSeq(d.ids) {
		if ok, _ := path.Match(pattern, id); ok {
			return true
		}
	}
	return false
}

// named are the ids that are spelled out: those need the deviation.
func (d *deviation) named() []string {
	return slices.DeleteFunc(strings.Fields(d.ids), func(id string) bool { return strings.Contains(id, "*") })
}

// deviations are all differences between edgews and the runtime.
var deviations = slices.Concat(objectDeviations, socketDeviations)

// socketDeviations are those in groups a, b and c, and everywhere. The particular ones come first: what holds for every
// scenario then applies to what they have made of it.
var socketDeviations = []deviation{
	// Handshakes.
	{"b-hs-no-upgrade-but-connection", strictWire, "426 for a request that asks for no upgrade", answered("http 426 for version 13")},
	{"b-hs-upgrade-list", strictWire, "Upgrade is a list, in which websocket may be one of several",
		answered("http 101 connection: Upgrade | sec-websocket-accept: <correct> | upgrade: websocket")},
	{"b-hs-key-not-base64 b-hs-key-twice", strictWire, "the key is 16 bytes in base64, once", answered("http 400")},
	{"b-hs-version-12 b-hs-version-8 b-hs-version-list", oneCloseEvent, "a pair whose end was refused in a response ends", refusedPairEnds(426)},
	{"b-hs-key-missing", oneCloseEvent, "a pair whose end was refused in a response ends", refusedPairEnds(400)},
	{"b-hs-post", strictWire, "405 for another method than GET", answered("http 405")},
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
	{"c-fetch-protocol", atIdentifier, "a socket from Dial has the subprotocol that was agreed", swap("w", `protocol ""`, `protocol "chat"`)},

	// Ends that cannot be used.
	{"a-return-accepted-end a-return-hibernated", atIdentifier, "an end that cannot be used in a response is answered with 500, not with a 101 and the end",
		all(swap("fetch", "response 101", "response 500"), becomes("c", 0))},
	{"a-end-used-in-response-then-accept", atIdentifier, "an end that was used up says so", becomes("a", 0,
		`send("x") → ErrUsed rs=1`, `close(1000, "") → ErrUsed rs=1`, "accept() → ErrUsed rs=1", "readyState 1", "new Response with it → ErrUsed")},

	{"a-listener-remove-earlier-during-dispatch", atIdentifier, "a function that is removed and added again is a new listener, " +
		"whose first event is the next one", swap("notes", "l1 2")},

	// The wire.
	{"b-ping-after-close", strictWire, "a ping is answered until the peer's Close has come", also("client", `recv pong "late"`)},
	{"b-bad-unmasked", strictWire, "a client masks", failsWith(1002)},
	{"b-bad-ping-126", strictWire, "a control frame has at most 125 bytes", failsWith(1002)},
	{"b-len-nonminimal-16", strictWire, "a length takes the fewest bytes", failsWith(1002)},
	{"b-bad-len-high-bit", strictWire, "the most significant bit of a length is 0", failsWith(1002)},
	{"b-deflate-rsv1-on-continuation", strictWire, "RSV1 is for a message's first frame", failsWith(1002)},
	{"b-bad-utf8 b-bad-utf8-surrogate b-bad-utf8-overlong b-deflate-bad-utf8", strictWire, "text is UTF-8", failsWith(1007)},
	{"b-bad-utf8-in-first-fragment", strictWire, "text is UTF-8, which a fragment can already disprove", failsWith(1007)},
	{"b-client-close-wire-0 b-client-close-wire-1005 b-client-close-wire-1006 b-client-close-wire-1015 b-client-close-wire-1016 " +
		"b-client-close-wire-2000 b-client-close-wire-2999 b-client-close-wire-65535", strictWire, "these status codes may not be sent", failsWith(1002)},
	{"b-client-close-1-byte", strictWire, "half a status code is none", failsWith(1002)},
	{"b-client-close-reason-bad-utf8", strictWire, "a reason is UTF-8", failsWith(1007)},
	{"b-ping-burst", atIdentifier, "every ping has its pong, not only the last of several (RFC 6455 §5.5.3 permits both)", pongForEveryPing},
	{"c-server-close-5000", strictWire, "this status code may not be sent", all(
		swap("w", `close 5000 "x" clean rs=3`, "error: protocol 1002 rs=3"),
		swap("origin", `recv close 5000 "x" masked`, `recv close 1002 "…" masked`))},
	{"c-server-bad-utf8", strictWire, "text is UTF-8", all(
		swap("w", `message "a�" rs=1`, "error: protocol 1007 rs=3"), deadFrom("w", "error: protocol 1007 rs=3"),
		swap("origin", `recv text "after" masked`, `recv close 1007 "…" masked`, "connection ended"))},
	{"b-ext-* b-deflate-*", atIdentifier, "a message is sent compressed only if that makes it shorter", notDeflated},
	{"b-deflate-context-takeover", atIdentifier, "a message that was sent as it is is no history for the next one", all(
		swap("client", foxDeflated, fox), swap("client", foxDeflated, fox))},
	{"b-size-33mib-text", strictWire, "the rest of what a failed client sends is read, so that no reset destroys the Close on its way " +
		"(RFC 6455 §7.1.1)", swap("client", connectionReset, connectionEnded)},

	// The end.
	{"b-server-close-no-reply b-server-close-no-reply@manual b-server-close-no-reply-60s", oneCloseEvent,
		"a peer that does not answer our Close is cut after CloseTimeout", all(
			swap("b", `message "still talking" rs=2`),
			also("b", `close 1006 "WebSocket disconnected without sending Close frame." unclean rs=3`),
			also("client", "connection ended"))},
	{"b-client-close-halfopen-never b-client-close-empty@manual b-client-close-1000@manual", oneCloseEvent,
		"a half-open socket whose peer hangs up is cut after CloseTimeout", also("client", "connection ended")},
	{"b-client-rst-then-server-sends", errClosed, "a handler goes on after the client has gone, and is told", also("b",
		"readyState 3", `send("anyone?") → ErrClosed rs=3`, "readyState 3", `send("hello?") → ErrClosed rs=3`,
		`close(1000, "x") → ErrClosed rs=3`, "readyState 3")},
	{"b-client-rst-while-server-sends-much", errClosed, "a handler goes on after the client has gone, and is told; the error " +
		"event comes if the failed write is noticed before the reset", all(
		swap("b", "error: connection lost rs=3", "? error: connection lost rs=3"),
		also("b", "readyState 3", `send("later") → ErrClosed rs=3`, "readyState 3"))},

	// Panics.
	{"a-after-error a-after-error@manual", listenerPanic, "the socket is dead in its error event already", all(
		swap("a", `message "in error handler" rs=1`),
		swap("b", `close(1011, "in error handler") → boom rs=3`, `close(1011, "in error handler") → ErrClosed rs=3`))},
	{"a-after-error a-after-error@manual", errClosed, "a second Accept is a no-op, also on a dead socket",
		swap("b", "accept() → ErrUsed rs=3", "accept() → ok rs=3")},
	{"a-handler-throws-error a-handler-throws-nonerror a-two-handlers-throw a-after-error " +
		"a-after-error@manual b-handler-throws b-handler-throws@manual c-throw-in-open-handler", listenerPanic,
		"a panic closes with 1011, which the peer is told", panicCloses},
	{"a-after-error@manual", listenerPanic, "the peer, half open, is told with a Close, and is CLOSED after that event", goneWhileHalfOpen},

	// Everywhere.
	{"*", oneCloseEvent, "a failed connection has a close event too, with the code that was sent", failureCloses},
	{"*", errClosed, "send() and close() on a dead socket are not ignored silently", deadCallsFail},
	{"*", oneCloseEvent, `no "Network connection lost." after the close event`, nothingAfterClose},
	{"*", oneCloseEvent, "a socket that was lost is CLOSED, in its close event and for ever", lostIsClosed},
}

// betweenSockets are scenarios in which the order of events of different sockets is another one than in JavaScript's single thread:
// each socket's events are delivered by a goroutine of its own. They come in order for each socket, see [edgews.Socket.OnMessage].
var betweenSockets = map[string]bool{
	"a-size-1mib-binary": true, "a-size-32mib-binary": true, "a-size-32mib-plus-1-binary": true, "a-size-33mib-text": true,
	"a-close-crossing": true, "a-close-crossing@manual": true, "a-order-two-pairs": true, "a-stub-plain-echo": true,
}

// otherStates says in which states other sockets are, where that is not what was recorded.
var otherStates = map[string][]string{
	// No socket stays CLOSING for ever: an end is CLOSED when the other one has failed, and it has been told.
	"a-after-error": {"a 3 not 2"}, "a-after-error@manual": {"a 3 not 2"},
	// Their events come in another order.
	"a-close-crossing": {"a 3 not 2", "b 2 not 3"}, "a-close-crossing@manual": {"a 3 not 2", "b 2 not 3"},
}

const (
	fox         = `recv text "the quick brown fox jumps over the lazy dog"`
	foxDeflated = fox + deflated
)

var (
	okClose     = regexp.MustCompile(`^close\(.*\) → ok `)
	closeEvent  = regexp.MustCompile(`^close \d+ .*clean rs=`)
	lossEvent   = regexp.MustCompile(`^close 1006 .* unclean rs=\d$`)
	errorEvent  = regexp.MustCompile(`^error: (.*) rs=\d$`)
	failure     = regexp.MustCompile(`^error: protocol (\d+) rs=3$`)
	stateSuffix = regexp.MustCompile(`(rs=|readyState )\d$`)
)

// deadCallsFail: after close(), after a close event that left the socket CLOSED, after an error, calls fail.
func deadCallsFail(t transcript) {
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
