package conformance_test

// objectDeviations are the deviations in group d. Particular ones come first here too.
var objectDeviations = []deviation{
	// Accepting, tags, lists.
	{"d-accept-peer-accepted", atIdentifier, "the other end may have been accepted before",
		becomes("object", 0, "acceptWebSocket(b) → ok", "getWebSockets().length → 1")},
	{"d-accept-both-ends", atIdentifier, "an object may accept both ends of a pair",
		becomes("object", 1, "acceptWebSocket(a) → ok", "getWebSockets().length → 2")},
	{"d-tags-count", atIdentifier, "a repeated tag after the tenth tag is dropped like any other", all(
		swap("object", `acceptWebSocket(["0","1","2","3","4","5","6","7","8","9","0"]) → ErrTooManyTags`,
			`acceptWebSocket(["0","1","2","3","4","5","6","7","8","9","0"]) → ok`),
		swapLast("object", "  getTags: ErrNotOwned", `  getTags: ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9"]`),
		swap("object", "getWebSockets().length → 6", "getWebSockets().length → 7"))},
	{"d-getwebsockets-order", atIdentifier, "sockets are listed oldest first, with or without a tag",
		swap("object", `getWebSockets() → ["s5" "s4" "s3" "s2" "s1"]`, `getWebSockets() → ["s1" "s2" "s3" "s4" "s5"]`)},
	{"d-broadcast", atIdentifier, "sockets are listed oldest first, with or without a tag", becomes("object", 5,
		"getWebSockets() → [c1/1 c2/1 c3/1]",
		`c1: send("to all") → ok rs=1`, `c2: send("to all") → ok rs=1`, `c3: send("to all") → ok rs=1`)},
	{"d-net-props", atIdentifier, "a socket has the negotiated subprotocol",
		swap("object", `c1 props: [1 "" "" ""]`, `c1 props: [1 "" "chat" ""]`)},
	{"d-accept-then-throw d-accept-then-200", atIdentifier, "a pair whose end is not given to Respond ends when the handler returns, not when a " +
		"garbage collector has found it", becomes("object", 2,
		`c1: close 1006 "WebSocket disconnected without sending Close frame." unclean rs=3`, "fetch", "getWebSockets() → []")},
	{"d-abort", atIdentifier, "Abort closes the connections with 1011", swap("client", "connection ended",
		`recv close 1011 "aborted by scenario"`, "connection ended")},
	{"d-auto-order", atIdentifier, "an auto-response does not wait for the events before it", becomes("client", 1,
		`recv text "pong"`, `recv text "pong"`, `recv text "m1"`, `recv text "m2"`, `recv text "m3"`)},

	// One event at a time. A Close that has arrived during a handler shows in the ready state before its event is delivered.
	{"d-conc-same-socket", serialEvents, "a long handler delays the next one", becomes("object", 3,
		"m1 done", "c1: webSocketMessage is over",
		`c1: message "![[\"wait\",20],[\"note\",\"m2 done\"]]" rs=1`, "m2 done", "c1: webSocketMessage is over")},
	{"d-client-messages-then-close", serialEvents, "a long handler delays the next one, and the close event", becomes("object", 2,
		`c1: message "m1" rs=1`, "c1: webSocketMessage is over",
		`c1: message "m2" rs=1`, "c1: webSocketMessage is over",
		`c1: close 1000 "x" clean rs=2`, "c1: readyState 2")},
	{"d-bad-after-messages", serialEvents, "a long handler delays the error event, and answers before it", all(
		swap("client", `recv close 1002 "…"`, `recv text "reply"`, `recv close 1002 "…"`),
		becomes("object", 2,
			`c1: message "good" rs=1`, `c1: send("reply") → ok rs=1`, "c1: webSocketMessage is over",
			"c1: error: protocol 1002 rs=2", "c1: readyState 2"))},
	{"d-conc-fin-during-handler", serialEvents, "a long handler delays the close event", becomes("object", 2,
		`c1: message "![[\"wait\",200],[\"rs\"],[\"send\",\"reply\"],[\"rs\"],[\"note\",\"m1 done\"]]" rs=…`,
		"c1: readyState 3", `c1: send("reply") → ErrClosed rs=3`, "c1: readyState 3", "m1 done", "c1: webSocketMessage is over",
		`c1: close 1006 "WebSocket disconnected without sending Close frame." unclean rs=2`, "close handler")},
	{"d-client-close-sockets-during-async-handler", serialEvents, "a socket is listed until its close handler is over",
		swap("object", "getWebSockets() → []", "getWebSockets() → [c1/2]")},

	// The wire.
	{"d-client-close-5000-wire", strictWire, "this status code must not be sent",
		all(objectFailsWith(1002), swap("client", "connection ended", `recv close 1002 "…"`))},
	{"d-bad-utf8", strictWire, "text must be UTF-8", all(
		objectFailsWith(1007), swap("object", "getWebSockets() → [c1/1]", "getWebSockets() → []"),
		becomes("client", 1, `recv close 1007 "…"`))},

	// Closing.
	{"d-server-close-no-reply", oneCloseEvent, "the connection of a peer that does not answer a Close is cut after CloseTimeout", all(
		becomes("object", 6, `c1: close 1006 "WebSocket disconnected without sending Close frame." unclean rs=3`,
			"fetch", "getWebSockets() → []"),
		also("client", "connection ended"))},
	{"d-client-fin-handler-sends d-conc-fin-during-handler", errClosed, "nothing is sent to a client that has closed the connection without a Close frame",
		becomes("client", 1)},
	{"d-client-fin-handler-sends d-conc-fin-during-handler d-client-fin-mid-frame d-handler-missing-close-fin", oneCloseEvent,
		"a half-open socket whose peer hangs up is over", also("client", "connection ended")},
	{"d-client-rst-pending-send", oneCloseEvent, "the error event comes if the failed write is noticed before the reset", all(
		swap("object", `c1: close 1006 "WebSocket disconnected without sending Close frame." unclean rs=3`,
			"? c1: error: connection lost rs=3", "? c1: readyState 3",
			`c1: close 1006 "WebSocket disconnected without sending Close frame." unclean rs=3`))},
	{"d-client-close-late-reply", hibernatingReply, "a reply after the close handler comes too late", all(
		becomes("object", 5, "c1: readyState 3", `c1: close(4000, "late") → ErrClosed rs=3`, "c1: readyState 3"),
		becomes("client", 1, `recv close 1000 "x"`, "connection ended"))},
	{"d-handler-missing-close d-handler-missing-close@manual", hibernatingReply, "the peer's Close is answered with and without a handler",
		also("client", `recv close 1000 "x"`, "connection ended")},
	{"d-handler-missing-error", oneCloseEvent, "a failed connection is CLOSED",
		becomes("client", 1, `recv close 1002 "…"`, "connection ended")},
	{"d-accept-inproc-peer d-accept-inproc-peer@manual", hibernatingReply, "the peer's Close is answered when its handler has not done so", all(
		swap("a", `close(4001, "bye") → ok rs=2`, `close(4001, "bye") → ok rs=2`, `close 4001 "bye" clean rs=3`),
		swap("a", "then rs=2", "then rs=3"), swap("a", "readyState 2", "readyState 3"),
		swap("object", "b: then rs=2", "b: then rs=3"), swap("object", "b: readyState 2", "b: readyState 3"))},
	{"d-attachment-after-close d-listeners", hibernatingReply, "the peer's Close is answered when its handler has not done so", all(
		swap("a", "then rs=2", "then rs=3"), swap("object", "b: then rs=2", "b: then rs=3"))},

	// Everywhere.
	{"d-*", hibernatingReply, "the peer's Close is answered when its handler has not done so", closeAnswered},
	{"d-*", oneCloseEvent, "webSocketClose follows webSocketError", objectFailureCloses},
	{"d-*", oneCloseEvent, "a socket that has failed or whose connection was lost is CLOSED", objectLostIsClosed},
	{"d-*", errClosed, "send() and close() on a dead socket return an error", objectClosedCallsFail},
}
