// Package link carries messages between the nodes of a cluster over TCP: in order, each once, with a window for each of many channels,
// and over any number of broken connections.
//
// A [Manager] has the links of a node. A [Channel] is a stream of messages in both directions, for one socket of a client or one
// request; a [Receiver] gets what arrives on it. Messages are kept by their sender until the program at the other end has consumed them,
// so that a channel that fails says what another node has to be sent: [Channel.Unconsumed].
//
// The rest of this page specifies the protocol, version 1. All numbers are big-endian.
//
// # Connections
//
// There is one TCP connection for each ordered pair of nodes of which the first one opens channels to the second: who wants to open
// channels dials. So a connection never has to be chosen out of two that were dialled at once; and a node that waits for another one is
// the node that dials it, and learns at once when its address refuses connections. The frames of a channel go both ways on the
// connection of the end that opened it. When an accepted connection breaks, the accepting end dials back, for the same reason: to learn
// whether the process is dead.
//
// A node that opens channels to itself has a connection with itself, in memory and not encrypted. Everything else on this page applies to it, too.
//
// A link is what lies between two ends while connections come and go: the dialling end names it by a session, which is new for each pair
// of processes. A member that has restarted has another incarnation and is another peer.
//
// # Security
//
// With TLS certificates of the cluster's own authority (mutual TLS), each end checks the other's certificate. With a shared secret, both
// ends prove in the handshake that they know it: the proof is an HMAC-SHA256 over the role of the end, 32 bytes of key material that the
// TLS connection exports (RFC 5705, RFC 8446 section 7.5), the hello and the welcome, with a fresh nonce in each. Because of the
// exported bytes, a relay that ends the TLS connection in the middle cannot pass the proofs on; so certificates need not be checked
// then, and without a configuration of TLS each node makes one that it signs itself. TLS is always version 1.3. With neither,
// connections are plain, and nodes dial and serve loopback addresses only. There are no plain connections between machines.
//
// # Frames
//
// A frame is a header of 28 bytes and a payload. The layout of the header is the same in all versions.
//
//	bytes    field
//	0 – 3    length of the payload
//	4        version; 1 in the handshake, then what the handshake has chosen
//	5        type
//	6 – 7    code: of a reset or a refusal; the type that an "unsupported" is about
//	8 – 15   channel
//	16 – 19  sequence, the low 32 bits
//	20 – 23  received: the sequence of the last message that was received on the channel, the low 32 bits
//	24 – 27  consumed: the same, of the last message that was consumed
//
// Fields that a type does not use are 0 when sent and ignored when received.
//
// # Handshake
//
// The payload of a frame of the handshake has at most 4 KiB. Fields of JSON objects that are not known are ignored.
//
//	type  name     from       payload
//	1     hello    dialling   JSON: cluster, id, incarnation, addr, versions (lowest, highest), session, resume, nonce, limits
//	2     welcome  accepting  JSON: cluster, id, incarnation, version, nonce, limits
//	3     proof    accepting  HMAC, or empty without a secret
//	3     proof    dialling   the same
//	4     ready    accepting  empty: the frames of channels follow, in both directions
//	5     refuse   either     text for people; the code says why. The connection ends
//
// The version is the highest that both speak. The limits are the windows of a channel and of the link, the largest message and the
// number of channels: the smaller ones of the two ends count. The dialling end compares id and incarnation with those of the member that
// it wants: if they differ, the process that it wants is gone. Resume says that the session has had a connection; an accepting end that
// does not know the session refuses with code 4, and the dialling end fails its channels and begins a new session.
//
// Codes of refusals: 1 another cluster, 2 no common version, 3 wrong proof, 4 unknown session, 5 not admitted, 6 closed.
//
// # Channels
//
// The dialling end numbers its channels 1, 2, 3 and so on. Numbers are not used again in a session. Messages of each direction have
// sequences, each one more than the one before; all sequences are 64 bits wide, may begin anywhere and go on with 0 after their largest
// value. The dialling end chooses where its direction begins; the other one begins with 1.
//
//	type  name         payload and meaning
//	16    open         64 bits: the sequence before the first message, which is also the sequence of this frame; then the greeting
//	17    data         a message
//	18    end          a reason. The sequence after the last message; nothing follows in this direction
//	19    ack          empty, or a list of further acks: see below. Carries received and consumed, as all types from 16 to 21 do, and 28
//	20    ask          empty. The sequence is that of the last frame sent: answer with an ack, or a nack if it has not arrived
//	21    nack         empty. There is a gap after received: send again from there
//	22    reset        a reason. The channel is over, in both directions. Sent again until the answer, which is gone, arrives
//	23    gone         empty. This end knows nothing of the channel (any more)
//	24    reopen       empty. Channel is the next one that the accepting end expects to be opened: send again from there
//	25    unsupported  empty. The code is a type that this end does not know, or that had another version
//	26    ping         empty. Answered with pong
//	27    pong         empty
//	28    shared       a message for several channels: see below
//
// The receiver of a data or an end:
//
//   - accepts it if its sequence is the next one, and acknowledges it, together with others, as soon as its turn comes;
//   - drops it and acknowledges what it has if the sequence is not after received: the acknowledgement was lost;
//   - drops it and sends a nack, once for each gap, if messages before it are missing.
//
// Opens are accepted in the order of their channels only; a frame of a channel that is later than the next one is answered with reopen.
// While an accepting end has as many channels as it allows, it ignores opens, and sends a reopen when one of them is over.
//
// A sender keeps what is not consumed. It sends again from the first message that is not received: after a nack, and on a new
// connection. TCP loses nothing while a connection lasts, but programs have errors: a timer asks about every channel with something
// unacknowledged, one second after the last progress, and again. An ask is answered with the truth, whatever was lost: messages, the
// acks of messages, or the acks of their consumption. Nothing depends on a frame that is sent only once.
//
// A channel is over when both ends have sent an end and consumed everything: each forgets it after one more ack. A peer that misses that
// ack asks, and the answer, gone, means the same.
//
// An end that gets a frame of a type or a version that it does not know answers with unsupported and goes on. A later version may so
// send frames that an earlier one does without.
//
// # Messages for many channels
//
// A message that is sent on several channels one after the other goes over the connection once. To a receiver, a shared frame is the same as a
// data frame for each of its channels: all that this page says of those applies to each of them by itself. The channel, sequence,
// received and consumed of the header are those of the first channel. The payload:
//
//	bytes    field
//	0 – 3    number of the message; each direction of a connection begins anew with 1
//	4 – 7    length of the list that follows, in bytes
//	8 –      list: for each further channel two signed integers, by how much its channel and the low 32 bits of its sequence are larger than
//	         those of the channel before it in the list
//	then     code 0: the message, of at most 33 KiB; code 1: nothing, the message is the one that was sent with that number
//
// Signed integers are zigzag-encoded and, as unsigned ones, written in 7 bits per byte, the lowest first, as in Protocol Buffers. The receiver
// keeps four messages: a message replaces the one whose number has the same remainder by 4. If it does not have the message with that number,
// because a frame was lost, it behaves as if one message before were missing: it sends a nack. After a nack or a reopen the sender gives
// the next messages new numbers.
//
// So a sender need not wait until it knows all the channels for which a message is: those that follow later cost a frame without the message.
// A shared frame has only channels that have nothing else to send before the message. The order within each channel stays as it is.
//
// An ack may have acknowledgements of further channels: for each a signed integer, by how much its channel is larger than the one before, a
// signed integer, by how much the low 32 bits of its received are, and an unsigned integer, received less consumed.
//
// # Windows
//
// A message costs its length and 64 bytes. What is sent in one direction of a channel and not consumed may cost as much as the window of
// a channel; a single message may cost more. Over all channels of a link, what goes beyond 4 KiB in each channel may cost as much as the
// window of a link. So the memory of a link is bounded, at both ends, by the window of the link and 4 KiB for each channel, two buffers for
// what is being read and written, of at most two of the largest messages each, and four shared messages in each direction. A channel always
// has 4 KiB, however many others are stuck. Greetings and reasons (at most 64 KiB and 1 KiB) are not messages: greetings count at the sender
// until they are acknowledged. A peer that exceeds a window, acknowledges what was not sent, or breaks another rule of this page loses the session.
//
// # Liveness
//
// An end that has received nothing for the heartbeat interval sends a ping. After three intervals without a byte the connection is
// given up. The dialling end then connects again: at once, then after pauses that grow from 50 ms to 2 s, with jitter. An accepting end keeps
// the channels of a peer that is not connected for two minutes.
package link
