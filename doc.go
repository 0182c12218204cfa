// Package edgews implements WebSockets with the programming model of Cloudflare Workers and Durable Objects: pairs of sockets
// in memory, sockets over HTTP servers and clients, event listeners, a pull style, and objects that hibernate.
//
// The central type is [Socket], one end of a WebSocket. It behaves the same over every kind of connection:
//
//   - [NewPair] returns two sockets that are connected in memory. A pair has no network and no frames, and no goroutine while
//     it is idle.
//   - [Upgrade] turns an HTTP request into a socket. [Respond] does the same for one end of a pair.
//   - [Dial] opens a socket to a server and waits for it. [NewWebSocket] opens one in the background, and [Reconnect] another one
//     whenever one has ended.
//
// A socket sends with [Socket.Send], which never blocks, or with [Socket.Write], which waits for room in the queue. It delivers
// messages to listeners or on request:
//
//	s.OnMessage(func(e edgews.MessageEvent) { fmt.Println(e.Text()) }) // events
//	s.Accept()
//
//	for msg, err := range s.Messages(ctx) { // or a loop
//		if err != nil {
//			return err
//		}
//		fmt.Println(msg.Text())
//	}
//
// Every socket follows three rules:
//
//   - It must be accepted before it sends or delivers anything: by [Socket.Accept], by [Socket.AcceptHalfOpen], or by
//     the first call of a receive method. What the peer sends before that waits, in order.
//   - It fires exactly one close event, which is its last event. Then [Socket.Done] is closed and [Socket.Err] tells how the
//     socket ended.
//   - All methods may be called from any goroutine at any time, also after the end.
//
// The zero [Options] are the recommended ones. They are safe: they bound message sizes, the queue, silence of the peer, and
// every wait.
//
// # Pairs
//
// [NewPair] corresponds to WebSocketPair. What one end sends, the other receives, in order. A pair has two uses.
//
// In tests and inside a program, accept both ends. The pair is then a message channel that behaves like a WebSocket: it has
// text and binary messages, back-pressure, a closing handshake and close codes.
//
// In a server, give one end to [Respond]. A network connection then takes the place of that end, which makes no difference to
// the code that uses the other end. Messages that it has already sent follow the 101 response.
//
// A pair uses the defaults of [Options] until Respond replaces them. It has no frames, and therefore no compression, no
// keep-alive and no limit on the size of a message. The bound on the queue and the close timeout apply.
//
// # Serving
//
// [Upgrade] checks the request, responds with 101 and returns a socket that has not been accepted yet. The handler may
// return at once: neither its return nor the end of the request's context ends the socket.
//
// If the request is not acceptable, the client gets an HTTP response with the reason as a sentence, and the connection is
// closed after it. Upgrade returns a [*HandshakeError], and the handler only has to return.
//
// A request with an Origin header must come from a page of the same host or from one of
// [UpgradeOptions.AllowedOrigins]. Otherwise a page of any site could open a socket with its visitor's cookies.
//
// [Serve] serves an [http.Server] in place of its own method Serve, and makes opening handshakes cheaper on Linux: for servers to which
// many clients connect, or slow ones.
//
// A socket that has not been accepted keeps its connection open, and nothing reads from the connection. To get rid of such a
// socket, accept it and close it.
//
// [UpgradeConn] is Upgrade for servers that are not net/http. [Socket.RemoteAddr] tells the peer's address, also after the end.
//
// [http.Server.Shutdown] neither closes sockets nor waits for them, because it does not know them. A server that stops should
// close them itself, with [StatusGoingAway] or [StatusServiceRestart], and wait for Done.
//
// Upgrade serves HTTP/1.1. Package edgewsh2 adds HTTP/2 (RFC 8441), for the same handlers, and says what is different there.
//
// # Dialing
//
// [Dial] makes an ordinary request with an [http.Client], whose settings for proxies, cookies, TLS and redirects apply. Its
// context bounds the handshake, not the lifetime of the socket. A redirect to another host carries none of the caller's headers,
// credentials and subprotocols, and a redirect from wss to ws is not followed. A proxy is asked for a tunnel, for ws as for wss.
//
// [NewWebSocket] corresponds to the constructor in browsers. It returns at once with a socket that is [Connecting] and
// accepted; the open event reports that it has opened. An attempt that fails fires an error event and then a close
// event with code 1006. Until the socket is open, [Socket.Write] waits and [Socket.Send] returns [ErrNotAccepted].
//
// # Events and the pull style
//
// [Socket.OnOpen], [Socket.OnMessage], [Socket.OnClose] and [Socket.OnError] add listeners. Each returns a function that
// removes the listener again. Add listeners before Accept or directly after it. A message that finds no listener
// waits for one until 10 ms after Accept; a listener that is added later does not get the message. In Workers a message waits
// for listeners that are added in the same turn of the event loop.
//
// The events of one socket:
//
//   - run one at a time, in order, each through all listeners in the order in which these were added;
//   - never run inside a call that the listener's own goroutine makes: Send and Close do not call listeners;
//   - may block: a blocking listener delays only its own socket;
//   - may panic: the panic is logged, the other listeners run, and this socket fails with 1011.
//
// The pull style is [Socket.Receive], [Socket.Messages], [Socket.NextReader], [ReceiveJSON] and [NetConn]. The
// first call accepts the socket. From then on, messages go to these calls and no longer to listeners; the other
// events still reach their listeners. One goroutine at a time may receive; a second one gets [ErrReceiving].
//
// [SendJSON], [ReceiveJSON] and [OnJSON] convert JSON, and [Mux] dispatches messages that name their type in a field. [Relay] forwards
// messages between two sockets, [Proxy] the bytes of connections.
//
// # Sending
//
// Send puts the message into the socket's queue and returns. Success does not mean that the peer gets the message. The
// rules of the queue:
//
//   - An empty queue takes one message of any size. Otherwise the queue may not exceed [Options.SendBuffer] bytes. On a network
//     connection the encoded frames count, with their headers of 2 to 14 bytes. On a pair, where each message has memory of
//     its own, a message counts 48 bytes more than its payload. The memory in use is at most 1.5 times the bytes that count.
//   - [Options.Overflow] decides what happens to a message that exceeds it: Send returns [ErrBufferFull] (the default), the
//     socket is closed with 1013, or the new message is dropped.
//   - [Socket.Write] waits for room instead, until its context ends. Then nothing of the message has been sent.
//   - Messages that one goroutine sends stay in order. Pings and pongs overtake messages, between frames.
//   - The goroutine that finds the queue idle writes it to the connection, as far as that is possible without blocking. Other
//     goroutines append to the queue, and their messages leave in the same write.
//   - While a listener has more messages to handle that arrived in the same read, what it sends is collected, for about a
//     millisecond at most.
//
// [Socket.BufferedAmount] is the payload that waits, in bytes, and [Socket.Flush] waits until it is 0. [Socket.OnDrain] calls a
// function when it has fallen. [Prepare] encodes a message once for many sockets. [Socket.NextWriter] sends a message of unknown size
// piece by piece.
//
// For readers that are too slow for all messages: [Socket.SendLatest] replaces the queued message of the same key, so that the reader
// gets the newest of each, and [OverflowDropOldest] drops the oldest messages. [Usage] counts both.
//
// # Hubs
//
// A [Hub] keeps the sockets of a server without objects: [Hub.Upgrade] and [Hub.Add] list them, with tags, and [Hub.Broadcast] sends to
// all or to those with some tags, without waiting for any. [HubOptions] bounds how many are open, in all and for each user or address, how
// long a socket may be open, and how long it may be silent. [Hub.Shutdown] closes them over a window, so that the clients do not all
// connect to the next server at the same moment; give it to [http.Server.RegisterOnShutdown].
//
// # Receiving
//
// The bytes of a [Message] belong to edgews. In a listener they are valid until the listener returns; from a
// receive method, until the next call of a receive method on the same socket. The program may change them meanwhile.
// [Message.Clone] and [Message.Text] make copies.
//
// A slow receiver makes its peer wait and does not fill the memory of the process. When 64 KiB wait to be received, where each
// message counts 48 bytes more than its payload, the socket stops reading, and TCP makes the peer wait. Until then, pings are
// answered even if the program does not receive. Bytes that the same read has returned after these messages, 64 KiB at most, wait
// with them. A compressed message of more than 64 KiB is inflated only when it is received. All this applies to an object that
// is busy, too. With listeners, nothing is read while a listener runs.
//
// Everything takes effect in the order in which it arrived. The peer's Close, or a violation of the protocol or of a limit,
// takes effect when all messages before it have been received and the program asks for the next one: a loop of
// Receive and Write answers every message. Until then the socket is Open, and Send and Write work. The wait for a receiver that
// does not ask is bounded by [Options.CloseTimeout].
//
// Cancelling the context of Receive, NextReader, Write, Flush or Ping ends the call with ctx.Err(). The socket
// stays usable and no message is lost.
//
// # Closing
//
// The states are those of the Web API; see [Socket.ReadyState].
//
//	CONNECTING   a socket from NewWebSocket, until its open event
//	OPEN         every other socket from the start, accepted or not
//	CLOSING      one side has sent Close
//	CLOSED       both sides have sent Close, or the connection is lost
//
// [Socket.Close] queues a Close frame after everything that was sent before, and returns. Messages that the peer sends before
// its own Close are still delivered. The peer's Close is answered automatically with its own code and reason,
// unless the socket was accepted with AcceptHalfOpen: then the application may continue to send after the close
// event, and ends the socket with Close.
//
// A peer may end its side of the connection directly after its Close. What is queued, and the answer to the Close, are still
// sent; a half-open socket then has CloseTimeout to send its own Close. The end of a connection without a Close is 1006 at once.
//
// Every accepted socket fires exactly one close event, for one of these reasons:
//
//	the peer sent Close with a code              its code and reason, WasClean
//	the peer sent Close without a code           1005, WasClean
//	the connection was lost                      1006
//	the peer did not answer a Close in time      1006, after Options.CloseTimeout
//	the peer was silent                          1006, ErrNoPong, after Options.KeepAlive and KeepAliveTimeout
//	the peer took no data                        1006, ErrWriteTimeout, after Options.WriteTimeout
//	NewWebSocket could not connect               1006, *HandshakeError
//	the peer broke the protocol                  1002, *ProtocolError
//	the peer sent text that is not UTF-8         1007, *ProtocolError
//	the peer exceeded Options.RateLimit          1008, ErrRateLimited
//	a message exceeded Options.MaxMessageSize    1009, ErrMessageTooBig
//	a listener panicked                          1011
//
// An error event precedes the close event where the right column names an error, after a panic, and after a failed
// write. The peer gets 1002, 1007, 1008, 1009 and 1011 in a Close frame. 1005, 1006 and 1015 are never sent, and Close
// refuses them.
//
// # Keep-alive
//
// A network socket sends a ping when nothing has arrived for [Options.KeepAlive], and when nothing has been sent for that
// long. If nothing arrives for [Options.KeepAliveTimeout] after a ping that followed a silence of the peer, the connection
// is dropped. Any received byte resets the timer, and so does progress in sending: a peer that takes a large message
// slowly is not dropped. Pings of the peer are answered automatically. [Socket.Ping] measures a round trip.
//
// # Compression
//
// permessage-deflate (RFC 7692) is used if the peer offers it; Dial offers it. Messages of at least 256 bytes are
// compressed, unless compression would not make them smaller. All sockets share a pool of compressors. Between messages
// a socket keeps only the bytes that the next message may refer to: at most 2 KiB of its own messages, and a window of
// [Compression.PeerWindowBits] of the peer's messages, which is 4 KiB by default, or 32 KiB if the peer does not permit a
// smaller one.
//
// Where bandwidth costs more than CPU, use a [Compression.Level] of 2 to 9. It makes messages smaller, needs many times the CPU,
// and keeps the whole agreed window of a socket's own messages, up to 32 KiB.
//
// If a message contains a secret together with text that an attacker chooses, its compressed length reveals the secret (the
// CRIME and BREACH attacks). Use [Compression.Choose] and [Compression.Disable] to mitigate this. For a message from NextWriter,
// Choose gets the first fragment.
//
// # Limits
//
// Every bound has a default; see [Options] for how to change it.
//
//	received message            32 MiB after inflation  MaxMessageSize
//	send queue                  1 MiB                   SendBuffer
//	silence before a ping       30 s, either direction  KeepAlive
//	silence after a ping        15 s                    KeepAliveTimeout
//	answer to a Close           5 s                     CloseTimeout
//	write without progress      10 s                    WriteTimeout
//	messages, bytes per second  no limit                RateLimit
//	waiting to be received      64 KiB                  fixed; one message may be larger, and up to 64 KiB of the same read wait too
//	inflated at the same time   64 MiB                  fixed; by all sockets together, one message may be larger
//	empty frames of a message   65,536                  fixed; more are answered with 1008
//	close reason                123 bytes               RFC 6455 §5.5
//	opening by NewWebSocket     30 s                    fixed; Dial has a context
//	waiting for a busy object   4096 requests and calls NamespaceOptions.MaxWaiting
//
// The memory in use depends on the bytes that have arrived, never on a length that a header claims.
//
// # Errors
//
// Sentinel errors, for use with [errors.Is], describe the state in which a call finds a socket, such as [ErrClosed] and
// [ErrBufferFull]. Three types are for [errors.As]:
//
//   - [*CloseError] tells how a socket ended. The receive methods return it after the last message, always the same value.
//   - [*ProtocolError] tells which rule the peer broke. It comes together with a CloseError; [errors.As] finds both.
//   - [*HandshakeError] tells why a socket could not be opened.
//
// No action of a peer causes a panic, and a method does not panic because of the time at which it is called.
//
// # Concurrency
//
//   - All methods of a Socket may be called from any goroutine, and from its listeners.
//   - One goroutine at a time may receive. The reader of NextReader and the writer of NextWriter belong to one goroutine
//     each.
//   - A listener must not wait for something that only the next event of the same socket can bring, such as a Pong.
//   - The lock of a socket is never held while the network is written or read, or while a listener runs.
//   - On Linux an idle socket has no goroutine, over TCP or over TLS. A listener runs on the goroutine that has read the
//     message. A blocking listener delays only its own socket: after about a millisecond another goroutine reads for the
//     other sockets. What listeners send while a batch of messages is handled leaves in one write for each socket, at the end
//     of the batch or after that millisecond. On other systems, and over connections that are not sockets of the operating
//     system, an accepted socket has one goroutine, which ends with the socket; TLS has a second one while it sends. Over
//     HTTP/2 it also has the goroutine of its handler. An idle pair has none.
//   - On Linux a broadcast gives the kernel up to 256 messages in one system call, through io_uring, where that is allowed and no
//     seccomp filter is in force. With the build tag edgews_nouring it never does.
//   - With the build tag edgews_noloop, Linux has no event loop and works as the other systems do.
//
// # Objects
//
// A [Namespace] is a set of objects, each with its own ID, like Durable Objects. [Namespace.Get] returns a [Stub] for the
// one object that has an ID; all callers reach the same object. An [Object] answers requests. For the sockets that it takes
// with [State.AcceptWebSocket] it gets messages, errors and close events. All its events run strictly one at a time, so its
// fields need no mutex. Listeners of sockets that it accepts in other ways, or dials, are events of the object as well. Run slow
// work with [State.WaitUntil], and return to the object's events with [State.Do].
//
// After ten seconds without an event an object hibernates: its value is dropped, and the next event constructs
// it again. Its sockets stay open meanwhile, with their tags and attachments, and what arrives for them waits. Pings, and
// messages that [State.SetAutoResponse] answers, do not wake the object. Besides events, three things keep an object from
// hibernating: work in WaitUntil, calls of its storage, and sockets that are part of its value, which are those that its handlers
// accept with [Socket.Accept], accept by receiving from them, dial, or give to [State.Hold]. [Namespace.Objects] tells which
// objects are awake, and why.
//
// [Namespace.ByName] and [ID.Name] are for objects that are known by name. [Suspender] gets a last call before the value is dropped. An
// event that takes longer than [State.SetEventTimeout] allows finds its context ended with [ErrEventTimeout].
//
// [Call] calls a method of an object, from a handler or from another object, with JSON between them: [CallHandler]. [Stub.Do] runs a function as an
// event of an object, and [Stub.Connect] opens a socket to it without a network. Over sockets, [HandleCall] answers requests
// and [Request] makes them.
//
// [State.Subscribe] subscribes sockets to a topic, and [Namespace.Publish] sends a message to all sockets that have subscribed to it, whatever object
// of the namespace has them: at most once, in the order of each publisher, without waking an object and without waiting for a socket.
//
// An idle object needs a few hundred bytes, and neither a goroutine nor a timer. While an object is busy, requests
// and calls of Do wait in its queue, and leave it when their context ends. Those beyond [NamespaceOptions.MaxWaiting] are
// refused. An event that waits for another event of its own object would wait for ever. It gets [ErrReentrant] if its
// context shows this, and so does a call that closes a circle of objects; otherwise a warning after 5 seconds tells which event waits for which.
//
// # Storage and alarms
//
// [State.Storage] is the persistent data of an object: values under keys, ordered by key. Every write is a commit, durable
// when it returns; [Storage.Update] combines several writes in one commit, all or nothing. [NamespaceOptions.Store] decides
// where the data is kept. Without a store it is in memory and ends with the process.
//
//	err := st.Storage().Update(ctx, func(tx *edgews.Tx) error {
//		if err := tx.Put("move:0017", move); err != nil {
//			return err
//		}
//		return tx.SetAlarm(time.Now().Add(time.Minute)) // until then the other player has to move
//	})
//
// Output is withheld until the commit succeeds: what is sent on the object's sockets during a commit waits, and is dropped if
// the commit fails. Then the object is reset as by [State.Abort], because its value no longer matches what is stored.
//
// [Storage.Scan] reads a [Range] of keys, forwards or backwards, at the cost of what it yields. [Storage.GetMany] reads several keys at one
// moment.
//
// A [Feed] keeps a numbered history in an object's storage, and who is there. [Feed.Publish] stores a message, once for each id that a client
// has chosen, and sends it to the members; [Feed.Join] sends a new member what it has missed, and then what is published.
//
// An object has one alarm. When it is due, [AlarmHandler] is called as an event. The alarm wakes the object, also in
// another process than the one that set it. If the handler returns an error, it is called again with growing delays, six
// times at most. A hundred thousand alarms need one timer.
//
// # Billing
//
// A [Meter] counts what sockets and objects use: sockets whose Options name it, and everything in a namespace whose Options name
// it. A service that bills its own customers gives each a tenant: [Meter.Tenant], [NamespaceOptions.Tenant]. Active time is
// counted by the rules of Durable Objects: from an event until nothing keeps the object awake, once for everything that
// happens at the same time, and not while the object could hibernate.
//
// A [Plan] is a price list as data. [Plan.Bill] turns usage into lines and a total, exact to billionths of a dollar. A [Bill]
// prints as a table and as JSON. The published price lists of Durable Objects and Workers are variables, such as
// [DurableObjects]: copy one and change the copy, or write your own. The storage of objects counts where it is used: rows and units of 4 KB
// that are read, written and deleted, and bytes over time. [Plan.Estimate] prices expected numbers instead, and
// [Namespace.Explain] tells why each object is being billed at the moment.
//
//	meter := edgews.NewMeter(nil)
//	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}})
//	http.Handle("/rooms/", roomHandler(rooms))
//	fmt.Println(edgews.DurableObjects.Bill(meter.Usage())) // later
//
// A [time.Duration] holds 292 years, which thousands of sockets together reach within a month. Large services take readings
// every day and pass the differences to [Plan.BillSum].
//
// [MeterOptions.Record] gets every fact that counts, once, for your own accounting. With [MeterOptions.Store] the meter
// keeps a ledger, which loses at most a minute in a crash and counts nothing twice. [Meter.SetQuota] limits the usage of a
// day.
//
// # Observing
//
// [Options.Observer] is told of each socket and message, of objects and of refused upgrades: see [Observer]. Package inspect is one: a page about the
// running process. Package metrics is another one, for Prometheus and OpenTelemetry. [Observers] combines several. Without an Observer nothing is
// measured.
//
// [Socket.Info] describes a socket at a moment, [Namespace.Info] and [Namespace.Objects] the objects, and [Namespace.Explain] says why an object is
// billed. Log lines of a socket carry the group "websocket" with the id that Info has.
//
// # Testing
//
// To test code that takes a *Socket, use a pair: it needs no listener and no port. Pairs work inside a [testing/synctest]
// bubble, where time is virtual: a test of a timeout takes no time, and [synctest.Wait] returns when all events
// have been delivered.
//
//	synctest.Test(t, func(t *testing.T) {
//		client, server := edgews.NewPair()
//		var got string
//		server.OnMessage(func(e edgews.MessageEvent) { got = e.Text() })
//		server.Accept()
//		client.Accept()
//		client.Send("hello")
//		synctest.Wait() // the listener has run
//	})
//
// Package edgewstest has what such tests need often: a server in memory for any handler, which works in a bubble too and reports what the
// handler leaves behind; transcripts of sockets with readable differences; connections that fail, stall or lose bytes at an exact
// byte; and peers that send raw frames, valid or not.
//
// # Coming from Workers
//
//	const [client, server] =                     client, server := edgews.NewPair()
//	  Object.values(new WebSocketPair())
//	server.accept()                              server.Accept()
//	server.accept({allowHalfOpen: true})         server.AcceptHalfOpen()
//	ws.addEventListener("message", f)            remove := ws.OnMessage(f)
//	ws.removeEventListener("message", f)         remove()
//	event.data                                   e.Kind, e.Data, e.Text()
//	ws.send("text"), ws.send(buffer)             ws.Send("text"), ws.SendBytes(p)
//	ws.close(1000, "done")                       ws.Close(1000, "done")
//	ws.readyState, ws.url, ws.protocol           ws.ReadyState(), ws.URL(), ws.Protocol()
//	ws.extensions                                ws.Extensions()
//	return new Response(null,                    err := edgews.Respond(w, r, client, nil)
//	  {status: 101, webSocket: client})
//	new WebSocket(url, protocols)                edgews.NewWebSocket(url, protocols...)
//	fetch(url, {headers:                         edgews.Dial(ctx, url, nil)
//	  {Upgrade: "websocket"}})
//
//	class Room extends DurableObject             a type that is an [Object]; [NewNamespace]
//	env.ROOMS.idFromName(name), newUniqueId()    rooms.IDFromName(name), rooms.NewUniqueID()
//	env.ROOMS.get(id).fetch(request)             rooms.Get(id).ServeHTTP(w, r)
//	env.ROOMS.getByName(name), ctx.id.name       rooms.ByName(name), st.ID().Name()
//	await stub.method(args)                      edgews.Call, and a [CallHandler]
//	ctx.acceptWebSocket(ws, tags)                st.AcceptWebSocket(ws, tags...)
//	ctx.getWebSockets(tag), ctx.getTags(ws)      st.WebSockets(tag), st.Tags(ws)
//	ws.serializeAttachment(value)                ws.SetAttachment(value)
//	ws.deserializeAttachment()                   ws.Attachment(&value)
//	ctx.setWebSocketAutoResponse(pair)           st.SetAutoResponse(pairs...)
//	ctx.waitUntil(promise)                       st.WaitUntil(fn)
//	ctx.abort(reason)                            st.Abort(reason)
//	ctx.storage.get(key), put(key, value)        st.Storage().Get(ctx, key), Put(ctx, key, value)
//	ctx.storage.list({prefix, start, limit, …})  st.Storage().Scan(ctx, edgews.Range{…})
//	ctx.storage.get([keys])                      st.Storage().GetMany(ctx, keys...)
//	ctx.storage.transaction(fn)                  st.Storage().Update(ctx, fn)
//	ctx.storage.setAlarm(time), alarm()          st.Storage().SetAlarm(ctx, t), an [AlarmHandler]
//
// # Deviations
//
// edgews behaves like the Workers runtime with a recent compatibility date, except:
//
//   - The wire is as strict as RFC 6455 requires. Unmasked client frames, lengths that are not minimal, long or fragmented
//     control frames, reserved bits and bad Close payloads end the connection with 1002, text that is not UTF-8 with 1007.
//     Errors that one endpoint lets through become a risk for the next.
//   - Send, Write and Close on a socket that has ended return [ErrClosed]. Workers ignore some of these calls, and the
//     program does not learn that its messages are lost.
//   - There is always exactly one close event and it is always the last. A peer that does not answer a Close is disconnected.
//     In Workers a socket can stay CLOSING for ever.
//   - A panic in a listener ends only that socket, with 1011. A server has many sockets in one process.
//   - Network sockets have keep-alive, on both sides. In Workers the platform finds dead connections.
//   - Queues are bounded in bytes, with a policy for messages that do not fit. Workers end a program that uses too much memory;
//     a Go process has no such limit.
//   - Events of an object run strictly one at a time. Workers let them interleave whenever one awaits something, so calls between
//     objects may go round in a circle there; here [Call] fails with [ErrReentrant].
//   - [Call] passes request and answer as JSON, and the error as it is. Workers clone both, pass functions and stubs too, and of an error
//     pass a copy.
//   - Listeners of an object's sockets are events of the object. The peer's Close waits for the events before it, for
//     half of CloseTimeout at most.
//   - A panic in an object's handler is logged and drops the object's value, which the next event constructs again. An error that
//     a handler returns is logged. The sockets stay open in both cases. Only [State.Abort], a constructor that fails and a commit
//     that fails close them, with 1011.
//   - What a value has started ends with the value, if it hibernates, panics or is aborted: contexts of [State.WaitUntil] are
//     cancelled, [State.Do] and all other methods of its [State] fail. Shutdown first cancels work, then waits, then closes
//     what is left.
//   - A socket that an object has dialed keeps the object awake, and is billed for, until it ends. In Workers an outgoing
//     connection does so for 15 minutes at most; [NamespaceOptions.PinTimeout] sets such a limit for what keeps an object awake
//     without an event.
//   - A write to storage is durable when it returns. What is sent on an object's sockets waits only for the commits that other
//     goroutines have under way. In Workers a program need not await a write, and everything that follows waits for it.
//   - The peer's Close is answered for an object that does not answer it, and the object's WebSocketClose follows
//     WebSocketError too.
//   - Objects have several auto-responses, and tags that can be changed.
//   - Sockets of different objects can have topics ([Namespace.Publish]). In Workers a program calls each object that has subscribers.
//   - Where a price list charges for CPU time, the wall time spent in handlers is used: a Go program cannot tell how much of
//     its CPU time a handler has used.
//   - A connection that is passed through, by [Proxy] or [Respond], gets what the other side has sent as it is: a reset becomes a
//     reset, and the client's offer of compression is not changed. Workers end the connection instead of resetting it.
//   - The handshake is checked as RFC 6455 §4 requires, including the origin; see [Upgrade], [Respond], [Dial] and
//     [NewWebSocket] for the details.
package edgews
