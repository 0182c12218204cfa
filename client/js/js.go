// Package js serves edgews.js, a WebSocket for browsers that connects again when its connection is lost. It is one ES module of at most
// 6 KB, and needs no build step:
//
//	mux.Handle("GET /edgews.js", js.Handler())
//
// and in the page:
//
//	<script type="module">
//	import {ReconnectingWebSocket} from "/edgews.js";
//	let last;
//	const socket = new ReconnectingWebSocket("/room/lobby/socket", {cursor: () => last});
//	socket.addEventListener("message", e => { last = JSON.parse(e.data).n; });
//	socket.send("hello");
//	</script>
//
// The module follows the rules of edgews.Reconnect where a browser permits it. It runs in every browser since 2022, in pages and in
// workers.
//
// # The class
//
// new ReconnectingWebSocket(url, options) begins to connect. url may be relative to the page, and its scheme may be http or https instead
// of ws or wss. The constructor throws what new WebSocket throws for wrong arguments. All options have defaults:
//
//   - protocols: the subprotocols to offer, as for WebSocket.
//   - minDelay = 1000, maxDelay = 30000: milliseconds, see below.
//   - heartbeat = {request: "ping", response: "pong", interval: 25000, timeout: 10000}: see below; null for none. Fields that are left
//     out have these values.
//   - cursor: a function that returns from where the server has to continue, for example the number of the last message that the page
//     has. It is called before each attempt. Its value joins the query of the URL, unless it is undefined. An error that it throws ends
//     the object, or comes out of the constructor.
//   - cursorParam = "cursor": the name of the cursor in the query.
//   - maxQueue = 1 MiB: how many bytes may wait for a connection.
//
// Its methods and properties are those of WebSocket, except that
//
//   - send(data) returns whether the data was taken. With a connection it always is: the browser's socket gets it at once, and
//     bufferedAmount says what that has not sent. Without one the data is queued, and sent in order before the next open event; if
//     it does not fit into maxQueue, send returns false and keeps nothing of it. After close and after the end, send returns false.
//   - close(code, reason) is final. The end event comes when the server has answered or has not done so for heartbeat.timeout, or at
//     once if there is no connection.
//   - readyState is CONNECTING also while it waits for the next attempt, CLOSING after close, and CLOSED after the end.
//   - binary messages come as ArrayBuffer: there is no binaryType.
//
// Its events, for which addEventListener and properties such as onmessage exist:
//
//   - open: there is a connection. This event comes once for each.
//   - message: data is a string or an ArrayBuffer.
//   - close: a connection that was open is lost. code, reason and wasClean are those of a CloseEvent.
//   - wait: another attempt is made after detail.delay milliseconds. detail.code and detail.reason say why: as in the close event, or
//     1006 and for example "HTTP 503" after a handshake that failed. The delay is Infinity while the browser is offline.
//   - end: the last event. It does not connect again. detail.code and detail.reason are those of the last close event, of the call of
//     close, or 1006 and for example "HTTP 403". bufferedAmount says how many bytes of the queue were not sent.
//
// # When it connects again
//
// It waits for a random part of a bound, which begins with minDelay, doubles with each attempt up to maxDelay, and begins again when a
// connection has lasted a minute. An attempt takes 30 s at most. As with edgews.Reconnect
//
//   - 1008 ends it: the server's rules forbid this client. All other codes lead to another attempt, 1000 and 4000 to 4999 included. A
//     server that wants its page to stop closes with 1008.
//   - After 1012 and 1013 the wait is 5 s to 30 s, or maxDelay if that is less.
//   - A refused handshake with a status from 400 to 499, other than 408, 425, 426 and 429, ends it.
//   - Retry-After of a refused handshake is added to the wait, an hour at most.
//
// A browser does not tell a page how a handshake was refused. After one that has failed, the module therefore sends a GET to the
// same URL, with the page's cookies, and takes status and Retry-After from the answer. A handler that refuses (a token that is wrong, a room
// that does not exist) should do so before it calls edgews.Upgrade, so that the GET is answered alike. Upgrade itself answers
// a GET with 426, which is no refusal. A server that answers 400 to a GET of its WebSocket, as some other libraries do, ends the object when a
// handshake has failed for another reason: let it answer 426. The answer of another origin is seen only with CORS: it needs
// Access-Control-Allow-Origin, Access-Control-Allow-Credentials and, for Retry-After, Access-Control-Expose-Headers. Otherwise,
// and when the page's Content-Security-Policy forbids the GET, all that is known is that the handshake failed, and the object tries again.
//
// # Heartbeat
//
// When nothing has arrived for interval milliseconds, the module sends request as a text message. When then nothing arrives for
// timeout milliseconds, it drops the connection (close event with 1006 and "no answer") and connects again. Messages that equal response
// are not shown to the page. The answer costs an object nothing, and does not wake it, with
//
//	st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"})
//
// Other servers have to answer, or the page sets heartbeat to null. A timer that fires late, because the page was frozen or the computer
// slept, is followed by one more request before the connection is dropped. Browsers delay the timers of hidden pages by up to a
// minute.
//
// # The page and the network
//
// When the page becomes visible, comes out of the back/forward cache, or the browser comes online, a wait ends at once, unless the server has
// asked for it with Retry-After, 1012 or 1013; an open connection is checked with a heartbeat. While the browser is offline there are no attempts,
// except to this machine (localhost, 127.0.0.0/8 and ::1). When the page is left (pagehide) the connection is closed, so that the browser
// may keep the page in its back/forward cache, and opened again when the page comes back.
//
// # What can be lost
//
// Data that was given to the browser's socket and had not reached the server when the connection was lost is not sent again, since the
// module cannot know what has arrived. A page that has to know gives its messages numbers, and sends those again that the server
// has not confirmed, as examples/chat does.
//
// # Requests and replies
//
// A second module, calls.js, of less than 2 KB, makes requests to a server with edgews.HandleCall, over a ReconnectingWebSocket or a
// WebSocket:
//
//	mux.Handle("GET /calls.js", js.CallsHandler())
//
//	import {calls} from "/calls.js";
//	const call = calls(socket);
//	const sum = await call("add", {a: 1, b: 2});
//
// calls(socket, {timeout = 10000, field = "type"}) returns the function call(type, fields), whose promise is fulfilled with the result of the
// reply. fields must not have "id" or "type", in lower or upper case, since the message needs them for itself: that is a TypeError. A
// timeout of Infinity is none. Otherwise the promise is rejected with a CallError, whose code is that of edgews.CallError, "timeout" when no
// reply has come within timeout milliseconds, or "closed" when the connection was lost before the reply, the socket has ended, or its queue
// is full. After "timeout" and "closed" it is not known whether the server has handled the request, unless the socket had ended before. A
// request that is made while a ReconnectingWebSocket has no connection waits in its queue, and is sent when it has one, also if it has
// timed out until then.
//
// The message event of the socket occurs for replies too: skip those of the type "reply". Call calls once for each socket.
package js

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
)

//go:embed edgews.js
var reconnecting []byte

//go:embed calls.js
var calls []byte

// module is a file that a page imports.
type module struct {
	content []byte
	etag    string // changes with content
}

func newModule(content []byte) module {
	sum := sha256.Sum256(content)
	return module{content, strconv.Quote(base64.RawURLEncoding.EncodeToString(sum[:12]))}
}

var reconnectingModule, callsModule = newModule(reconnecting), newModule(calls)

// Handler returns a handler that serves the module at every path. It answers GET and HEAD, and other methods with 405. Browsers may keep
// the module, and ask with its ETag each time whether there is another one, so a new release of the server is picked up with the
// next load of a page. The handler may be used by several goroutines at once.
func Handler() http.Handler { return reconnectingModule }

// CallsHandler is Handler for calls.js.
func CallsHandler() http.Handler { return callsModule }

// ServeHTTP implements http.Handler.
func (m module) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD") // RFC 9110 §15.5.6
		http.Error(w, "edgews: the module is fetched with GET", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache") // RFC 9111 §5.2.2.4: stored, and not used without asking
	h.Set("ETag", m.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.content))
}
