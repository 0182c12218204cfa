// Package edgews is WebSockets for Go, with the programming model of Cloudflare Workers and without their
// platform: pairs of sockets in memory, sockets over HTTP servers and clients, event listeners, and a pull
// style that reads like ordinary Go.
//
// There is one type, [Socket]. It is one end of a WebSocket, and it does not matter what is between the ends:
//
//   - [NewPair] returns two sockets that are connected in memory. No network, no frames, no goroutine while it is idle.
//   - [Upgrade] turns an HTTP request into a socket. [Respond] does the same for one end of a pair.
//   - [Dial] opens a socket to a server and waits for it. [NewWebSocket] opens one in the background.
//
// A socket sends with [Socket.Send], which never blocks, or with [Socket.Write], which waits for room. It
// receives either through listeners or by being asked:
//
//	s.OnMessage(func(e edgews.MessageEvent) { … }) // events
//	s.Accept()
//
//	for msg, err := range s.Messages(ctx) { … }    // or a loop
//
// Three things hold for every socket:
//
//   - It has to be accepted before it sends or delivers anything: by [Socket.Accept], by [Socket.AcceptHalfOpen], or by
//     the first call of a method that receives. What the peer sends before waits, in order.
//   - It ends with exactly one close event, which is its last event. Then [Socket.Done] is closed and [Socket.Err] says
//     how.
//   - All methods may be called from any goroutine at any time, also after the end.
//
// The zero [Options] are the recommended ones. They are safe: message size, queue, silence and every wait are
// bounded.
//
// # Pairs
//
// [NewPair] is WebSocketPair. What one end sends, the other receives, in order. A pair has two uses.
//
// In tests and inside a program both ends are accepted, and the pair is a message channel that behaves like a
// WebSocket: with text and binary messages, back-pressure, a closing handshake and close codes.
//
// In a server one end is given to [Respond], and the network takes that end's place. The code that holds the
// other end does not notice. What it sent before goes out right behind the 101 answer.
//
// A pair uses the defaults of [Options] until Respond replaces them. It has no frames, so there is no
// compression, no keep-alive and no limit on the size of a message; the bound on the queue and the close
// timeout apply.
//
// # Serving
//
// [Upgrade] checks the request, answers 101 and returns a socket that waits to be accepted. The handler may
// return at once: neither its return nor the end of the request's context ends the socket.
//
// A request that does not pass gets an HTTP answer with a sentence that says why, and its connection is closed behind that. Upgrade
// returns a [*HandshakeError] and the handler only has to return.
//
// A request with an Origin header must come from a page of the same host or from one of
// [UpgradeOptions.AllowedOrigins]. Otherwise a page of any site could open a socket with its visitor's cookies.
//
// A socket that is not accepted holds its connection, and nobody reads it. If it is not wanted after all,
// accept it and close it.
//
// HTTP/1.1 only. [http.Server.Shutdown] neither closes nor waits for sockets, because it does not know them: a
// server that stops should close them itself, with [StatusGoingAway] or [StatusServiceRestart], and wait for
// Done.
//
// # Dialing
//
// [Dial] makes an ordinary request with an [http.Client], so that proxies, cookies, TLS settings and redirects are
// configured where they always are. Its context bounds the handshake, not the socket. A redirect to another host carries nothing
// that the caller has given for the first, and none leads away from TLS. A proxy is asked for a tunnel, for ws as for wss.
//
// [NewWebSocket] is the constructor of browsers. It returns at once with a socket that is [Connecting] and
// accepted; the open event says that it has opened. An attempt that fails fires an error event and then a close
// event with 1006. [Socket.Write] waits for the socket to open. [Socket.Send] before that returns
// [ErrNotAccepted].
//
// # Events and the pull style
//
// [Socket.OnOpen], [Socket.OnMessage], [Socket.OnClose] and [Socket.OnError] add listeners, and return a
// function that removes the listener again. Add them before Accept. A message that finds no listener is not
// kept for one that is added later, except for the first 10 ms after Accept: there a message waits, as it does
// in Workers for listeners that are added in the same turn of the event loop.
//
// The events of one socket:
//
//   - run one at a time, in order, each through all listeners in the order these were added;
//   - never run inside a call that the listener's own goroutine makes: Send and Close do not call listeners;
//   - may block: other sockets do not notice, this one waits;
//   - may panic: the panic is logged, the other listeners run, and this socket fails with 1011.
//
// The pull style is [Socket.Receive], [Socket.Messages], [Socket.NextReader], [ReceiveJSON] and [NetConn]. The
// first call accepts the socket. From then on messages go to these calls and no longer to listeners; the other
// events still reach theirs. One goroutine at a time may receive; a second one gets [ErrReceiving].
//
// For JSON there are [SendJSON], [ReceiveJSON] and [OnJSON], and [Mux] for messages that name their type in a
// field.
//
// # Sending
//
// Send puts the message into the socket's queue and returns. It says nothing about whether the peer will get
// it. The rules of the queue:
//
//   - An empty queue takes one message of any size. Otherwise what waits may not exceed [Options.SendBuffer] bytes. What
//     counts is what it holds: on a network connection frames, as they are, with their headers of 2 to 14 bytes; on a pair,
//     where each message has its own memory, 48 bytes more than its payload. The memory is at most 1.5 times that.
//   - What happens beyond that is the choice of [Options.Overflow]: Send returns [ErrBufferFull] (the default), or the
//     socket is closed with 1013, or the new message is dropped.
//   - [Socket.Write] waits for room instead, until its context ends. Then nothing of the message has been sent.
//   - What one goroutine sends stays in order. Pings and pongs overtake messages, between frames.
//   - Whoever finds the queue idle writes it to the connection, as far as that goes without blocking. Others append, and
//     their messages leave in the same write.
//   - While a listener still has messages before it that arrived together, its answers are gathered, for at most about a
//     millisecond.
//
// [Socket.BufferedAmount] is the payload that waits, [Socket.Flush] waits until it is 0, and [Prepare] encodes
// a message once for many sockets. [Socket.NextWriter] sends a message of unknown size piece by piece.
//
// # Receiving
//
// The bytes of a [Message] belong to edgews. In a listener they are valid until the listener returns, from a
// receive method until the next call of one. They may be changed. [Message.Clone] and [Message.Text] make
// copies.
//
// A receiver that stops receiving stops its peer, not the process: when 64 KiB wait to be received, in which each
// message counts 48 bytes more than it has, the socket stops reading, and TCP makes the peer wait. What had been read
// behind them, 64 KiB at most, waits with them. Until then pings are answered while nobody receives. The same holds for an
// object that is busy. A compressed message that is larger than that is inflated when it is taken. With listeners nothing is
// read while a listener runs.
//
// What arrives takes effect in the order in which it arrived. The peer's Close, and whatever breaks the protocol or a limit,
// is acted on when the messages before it have been taken and more is asked for: a loop of Receive and Write answers all of
// them. Until then the socket is Open, and Send and Write work. It does not wait longer than [Options.CloseTimeout] for a
// receiver that stays away.
//
// Cancelling the context of Receive, NextReader, Write, Flush or Ping ends the call with ctx.Err(). The socket
// stays usable and no message is lost.
//
// # Closing
//
// The states are those of the Web API; see [Socket.ReadyState].
//
//	CONNECTING   a socket of NewWebSocket, until its open event
//	OPEN         every other socket from the start, accepted or not
//	CLOSING      one side has said Close
//	CLOSED       both sides have said Close, or the connection is gone
//
// [Socket.Close] queues a Close behind what was sent before, and returns. Messages that the peer sends until
// its own Close are still delivered. The peer's Close is answered automatically with its own code and reason,
// unless the socket was accepted with AcceptHalfOpen: then the application may go on sending after the close
// event, and ends the socket with Close.
//
// A peer may end its side of the connection right behind its Close: what is queued, and our Close, still go out. A half-open
// socket has CloseTimeout for its own Close then. The end of a connection without a Close is 1006 at once.
//
// Every accepted socket fires exactly one close event, whatever happened:
//
//	the peer said Close                          its code and reason, WasClean
//	… without a code                             1005, WasClean
//	the connection was lost                      1006
//	the peer did not answer our Close in time    1006, after Options.CloseTimeout
//	the peer was silent                          1006, ErrNoPong, after Options.KeepAlive and KeepAliveTimeout
//	the peer took no data                        1006, ErrWriteTimeout, after Options.WriteTimeout
//	NewWebSocket could not connect               1006, *HandshakeError
//	the peer broke the protocol                  1002, *ProtocolError
//	the peer sent text that is not UTF-8         1007, *ProtocolError
//	the peer exceeded Options.RateLimit          1008, ErrRateLimited
//	a message exceeded Options.MaxMessageSize    1009, ErrMessageTooBig
//	a listener panicked                          1011
//
// Where the right column names an error, and after a panic or a failed write, an error event comes before the
// close event. The peer is told 1002 to 1011 in a Close frame. 1005, 1006 and 1015 never travel, and Close
// refuses to send them.
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
// permessage-deflate (RFC 7692) is agreed on when the peer offers it, and offered by Dial. Messages of at least
// 256 bytes are compressed; smaller ones, and those that would not shrink, are not. Between messages a socket
// keeps no compressor, those are shared, but what the next message may refer to: at most 2 KiB of its own
// messages, and a window of [Compression.PeerWindowBits] of the peer's, which is 4 KiB by default and 32 KiB if
// the peer does not let us choose.
//
// Where bandwidth costs more than CPU, a [Compression.Level] of 2 to 9 makes messages smaller, at many times the CPU, and
// keeps the whole agreed window of a socket's own messages, up to 32 KiB.
//
// Compressing secrets together with text that an attacker chooses reveals the secrets by their length (the
// CRIME and BREACH attacks). [Compression.Choose] and [Compression.Disable] are the means against it. Of a message of NextWriter,
// Choose sees the first fragment.
//
// # Limits
//
// Every bound has a default; see [Options] for how to change it.
//
//	received message            32 MiB after inflation  MaxMessageSize
//	send queue                  1 MiB                   SendBuffer
//	silence before a ping       30 s, either direction  KeepAlive
//	silence after it            15 s                    KeepAliveTimeout
//	answer to a Close           5 s                     CloseTimeout
//	write without progress      10 s                    WriteTimeout
//	messages, bytes per second  no limit                RateLimit
//	waiting to be received      64 KiB                  fixed; one message may be larger, and up to 64 KiB were read with it
//	inflated at the same time   64 MiB                  fixed; by all sockets together, one message may be larger
//	empty frames of a message   65,536                  fixed; more are answered with 1008
//	close reason                123 bytes               RFC 6455
//	opening by NewWebSocket     30 s                    fixed; Dial has a context
//	waiting for a busy object   4096 requests and calls NamespaceOptions.MaxWaiting
//
// Memory follows the bytes that have arrived, never a length that a header claims.
//
// # Errors
//
// There are sentinel errors for the states that a call can find a socket in, such as [ErrClosed] and
// [ErrBufferFull], for use with [errors.Is]; and three types for [errors.As]:
//
//   - [*CloseError]: how a socket ended. The receive methods return it after the last message, always the same.
//   - [*ProtocolError]: which rule the peer broke. It comes together with a CloseError; [errors.As] finds both.
//   - [*HandshakeError]: why a socket could not be opened.
//
// Nothing panics because of what a peer does or because of the moment at which a method is called.
//
// # Concurrency
//
//   - All methods of a Socket may be called from any goroutine, and from its listeners.
//   - One goroutine at a time may receive. The reader of NextReader and the writer of NextWriter belong to one goroutine
//     each.
//   - Do not wait in a listener for something that only the next event of the same socket can bring, such as Ping.
//   - The lock of a socket is never held while the network is written or read, or while a listener runs.
//   - On Linux an idle socket has no goroutine, whether it is over TCP or over TLS, and a listener runs where the message was
//     read. One that blocks gets in nobody's way: another goroutine goes on in its place about a millisecond later. What
//     listeners send while a batch of messages is handled leaves in one write for each socket, at the end of the batch or
//     after that time. Elsewhere, and over connections that are no sockets of the system's, an accepted socket has one
//     goroutine, which ends with it; TLS has a second one while something is being sent. An idle pair has none.
//   - With the build tag edgews_noloop, Linux has no event loop and works as the other systems do.
//
// # Objects
//
// A [Namespace] is a set of objects, each with an ID of its own, as Durable Objects are: [Namespace.Get] leads to the
// one object that has an ID, wherever the caller is. An [Object] answers requests and, for the sockets that it takes with
// [State.AcceptWebSocket], gets messages, errors and close events, all strictly one at a time, so that its fields need no
// mutex. The listeners of sockets that it takes otherwise, or dials, are such events as well. Slow work goes into
// [State.WaitUntil] and comes back through [State.Do].
//
// After ten seconds in which nothing happens an object hibernates: its value is dropped, and the next event constructs
// it again. Its sockets stay open meanwhile, with their tags and attachments, and what arrives for them waits. Pings,
// and what [State.SetAutoResponse] answers, do not wake it. What keeps an object from hibernating, apart from an event, is
// work in WaitUntil, and sockets that are part of its value: those that its handlers accept with [Socket.Accept] or by
// receiving from them, and those that they dial. [Namespace.Objects] tells which objects are awake, and why.
//
// An object costs a few hundred bytes, and neither a goroutine nor a timer, while nothing happens. While it is busy, requests
// and calls of Do wait in its queue, which they leave when their context ends; those beyond [NamespaceOptions.MaxWaiting] are
// refused. An event that waits for another event of its own object would wait for ever: it gets [ErrReentrant] where its
// context tells, and otherwise the log says after 5 seconds what waits for what.
//
// # Storage and alarms
//
// [State.Storage] is what an object has for good: values under keys, ordered by key. Every write is a commit, durable
// when it returns; [Storage.Update] makes several of them one, all or nothing. Where they are kept is the choice of
// [NamespaceOptions.Store]; without one they are in memory, and end with the process.
//
//	err := st.Storage().Update(ctx, func(tx *edgews.Tx) error {
//		if err := tx.Put("move:0017", move); err != nil {
//			return err
//		}
//		return tx.SetAlarm(time.Now().Add(time.Minute)) // until then the other player has to move
//	})
//
// Nobody hears of what may never have happened: while a commit is under way, what is sent on the object's sockets waits,
// and it is dropped if the commit fails. Then the object is reset as by [State.Abort], since what its value believes
// is not what is stored.
//
// An object has one alarm. When it is due [AlarmHandler] is called, as an event: it wakes the object, also in another
// process than the one that has set it, and it is tried again, with growing delays, until it returns nil, six times at
// most. A hundred thousand alarms need one timer.
//
// # Billing
//
// A [Meter] counts what sockets and objects use: sockets whose Options have it, and everything in a namespace whose Options have
// it. For a service that bills its own customers it has tenants: [Meter.Tenant], [NamespaceOptions.Tenant]. Active time is
// counted by the rules of Durable Objects: from an event until nothing keeps the object awake, once for everything that
// happens at the same time, and not while the object could hibernate.
//
// A [Plan] is a price list as data. [Plan.Bill] turns usage into lines and a total, exact to billionths of a dollar; a Bill
// prints as a table and as JSON. The published price lists of Durable Objects and Workers are variables, such as
// [DurableObjects]: copy one and change the copy, or write your own. Storage is neither counted nor billed, although the published
// lists charge for its rows, units or bytes. [Plan.Estimate] prices expected numbers instead, and
// [Namespace.Explain] says why each object is being billed at the moment.
//
//	meter := edgews.NewMeter(nil)
//	rooms := edgews.NewNamespace("rooms", newRoom, &edgews.NamespaceOptions{Options: edgews.Options{Meter: meter}})
//	…
//	fmt.Println(edgews.DurableObjects.Bill(meter.Usage()))
//
// A [time.Duration] holds 292 years, which thousands of sockets together reach within a month: large services take readings
// every day and give the differences to [Plan.BillSum].
//
// [MeterOptions.Record] receives every fact that counts, once, for accounting of your own. With [MeterOptions.Store] the meter
// keeps a ledger, which loses at most a minute in a crash and counts nothing twice. [Meter.SetQuota] bounds what may be used in a
// day.
//
// # Testing
//
// Code that takes a *Socket is tested with a pair: no listener, no port. Pairs work inside a [testing/synctest]
// bubble, where time is virtual: a test of a timeout takes no time, and [synctest.Wait] returns when all events
// have been delivered.
//
//	synctest.Test(t, func(t *testing.T) {
//		client, server := edgews.NewPair()
//		server.OnMessage(func(e edgews.MessageEvent) { … })
//		server.Accept()
//		client.Accept()
//		client.Send("hello")
//		synctest.Wait() // the listener has run
//	})
//
// For the handshake and everything around it, [net/http/httptest.NewServer] and Dial do.
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
//	ctx.acceptWebSocket(ws, tags)                st.AcceptWebSocket(ws, tags...)
//	ctx.getWebSockets(tag), ctx.getTags(ws)      st.WebSockets(tag), st.Tags(ws)
//	ws.serializeAttachment(value)                ws.SetAttachment(value)
//	ws.deserializeAttachment()                   ws.Attachment(&value)
//	ctx.setWebSocketAutoResponse(pair)           st.SetAutoResponse(pairs...)
//	ctx.waitUntil(promise)                       st.WaitUntil(fn)
//	ctx.abort(reason)                            st.Abort(reason)
//	ctx.storage.get(key), put(key, value)        st.Storage().Get(ctx, key), Put(ctx, key, value)
//	ctx.storage.list({prefix})                   st.Storage().List(ctx, prefix)
//	ctx.storage.transaction(fn)                  st.Storage().Update(ctx, fn)
//	ctx.storage.setAlarm(time), alarm()          st.Storage().SetAlarm(ctx, t), an [AlarmHandler]
//
// # Deviations
//
// Behaviour is that of the Workers runtime with a recent compatibility date, except:
//
//   - The wire is as strict as RFC 6455 asks. Unmasked client frames, lengths that are not minimal, long or fragmented
//     control frames, reserved bits and bad Close payloads end the connection with 1002, text that is not UTF-8 with 1007.
//     What a lax endpoint lets through, the next one has to defend itself against.
//   - Send, Write and Close on a socket that has ended return [ErrClosed]. Workers ignore some of these calls, and a
//     program does not notice that it talks to nobody.
//   - There is always exactly one close event and it is always the last; a peer that does not answer a Close is cut off.
//     In Workers a socket can stay CLOSING for ever.
//   - A panic in a listener ends that socket with 1011 and no other. A server has many sockets in one process.
//   - Network sockets have keep-alive, on both sides. In Workers the platform finds dead connections.
//   - Queues are bounded in bytes, with a policy for what does not fit, because there is no platform that ends a process
//     which grows without limit.
//   - Events of an object run strictly one at a time, where Workers let them interleave whenever one awaits something.
//   - Listeners of an object's sockets are events of the object, and the peer's Close waits behind those that are before it, for
//     half of CloseTimeout at most.
//   - A panic in an object's handler drops its value, which the next event constructs again; an error is logged. The
//     sockets stay either way. Only [State.Abort], a constructor that fails and a commit that fails close them, with 1011.
//   - What a value has started ends with it, whether it hibernates, panics or is aborted: contexts of [State.WaitUntil] are
//     cancelled, [State.Do] and all other methods of its [State] fail. Shutdown first tells work to end, then waits, then cuts.
//   - A socket that an object has dialed keeps it awake, and is billed for, until it ends. In Workers an outgoing connection
//     does so for 15 minutes at most; that limit is not built yet. Until it is, close such sockets when they are not needed.
//   - A write to storage is durable when it returns, and only what is sent on an object's sockets waits for the commits that
//     others have under way. In Workers a write may be left to itself, and whatever follows waits for it.
//   - The peer's Close is answered for an object that does not do it, and its WebSocketClose follows WebSocketError too.
//   - Objects have several auto-responses, and tags that can be changed.
//   - Where a price list counts CPU time, the wall time spent in handlers stands for it: a Go program cannot tell how much of
//     its CPU time a handler has used.
//   - The handshake is checked as RFC 6455 §4 asks, origin included; see [Upgrade], [Respond], [Dial] and [NewWebSocket]
//     for the details.
package edgews
