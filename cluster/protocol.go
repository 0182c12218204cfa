package cluster

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/edgews/edgews"
)

// Nodes open channels to each other (package internal/link). The first byte of a greeting says what the channel is for; JSON follows.
//
//	'r'  request     edge → home  requestHead: a request, and the socket that it may become
//	'c'  call        edge → home  callHead: a call of edgews.Call
//	's'  socket      edge → home  socketHead: a socket of an object that has a new home
//	't'  topics      any → any    {}: which topics the sender wants, and what is published that the receiver wants
//	'e'  end         any → home   endHead: this node has announced all sockets that it has of a shard
//
// On a channel for a request the edge sends the body in messages of bytes, and then its end; an empty message says that the body is broken
// off. The answers of the home begin with these bytes; the end follows the last one, but not 'A':
//
//	'H'  responseHead as JSON; one with a status below 200 is followed by another one
//	'B'  bytes of the body
//	'F'  flush
//	'L'  the trailer as JSON, behind the body
//	'X'  the handler has failed behind what was sent
//	'A'  acceptHead as JSON: from now on the channel is one for a socket. It is sent when the socket has been accepted, something is
//	     sent to the client, or the handler has returned
//
// On a channel for a call the edge sends the request in one message. The home answers with one message and the end: 'R' and the result, or 'E' and
// sentError as JSON.
//
// On a channel for a socket, messages begin with:
//
//	edge → home  't' 'b'  a message of the client, text or binary
//	             'c'      the client's Close: code, reason
//	             'l'      the connection is lost; the reason as text
//	             'p'      the client has answered a ping: its id
//	             'd'      the client has got messages of topics: how many, how many bytes in all
//	             'a'      an auto-response was sent: its size, the time in nanoseconds since 1970
//	home → edge  't' 'b'  a message to the client, or the last part of one
//	             'T' 'B'  a part of a message, which others follow
//	             'c'      a Close: code, reason
//	             'p'      ping: an id
//	             'f'      edgews.ClusterPosition as JSON: of the next message to the client, which is noted together with that
//	             'u' 'U'  subscribe the connection to a topic, end that: the topic
//	             'k'      edgews.ClusterKept as JSON
//	             'o'      the auto-responses as JSON
//	             'x'      the socket has ended at the home
//	             'm'      the object moves to another home
//
// On a channel for topics, messages begin with:
//
//	'w'  which topics the sender wants: for each a hash of 64 bits, and a byte, 1 if it wants it and 0 if it does not any more
//	'P'  a part of a message that is published, which others follow
//	'p'  the last part of one: 't' or 'b' for text or binary, the namespace and the topic, each behind its length in 16 bits, and the rest
//
// Integers are big-endian. A node ignores messages that it does not know.
const (
	kindRequest = 'r'
	kindCall    = 'c'
	kindSocket  = 's'
	kindTopics  = 't'
	kindEnd     = 'e'

	// On a channel for a request.
	msgHead    = 'H'
	msgBody    = 'B'
	msgFlush   = 'F'
	msgTrailer = 'L'
	msgAbort   = 'X'
	msgAccept  = 'A'

	// On a channel for a call.
	msgResult = 'R'
	msgError  = 'E'

	// On a channel for a socket.
	msgText        = 't'
	msgBinary      = 'b'
	msgTextPart    = 'T'
	msgBinaryPart  = 'B'
	msgClose       = 'c'
	msgLost        = 'l'
	msgPing        = 'p'
	msgCounted     = 'd'
	msgAnswered    = 'a'
	msgPosition    = 'f'
	msgSubscribe   = 'u'
	msgUnsubscribe = 'U'
	msgKept        = 'k'
	msgAuto        = 'o'
	msgCut         = 'x'
	msgMoved       = 'm'

	// On a channel for topics.
	msgWanted        = 'w'
	msgPublished     = 'p'
	msgPublishedPart = 'P'
)

// The codes with which channels are reset.
const (
	codeNotHome   uint16 = 256 + iota // the node is not the home of the object, or is not any more: ask another one
	codeGone                          // the socket has ended, or cannot go on
	codeCancelled                     // the caller does not wait any more
	codeFailed                        // the request has failed without an answer
)

// target names an object. A node makes its ID from the name, if there is one, so that it knows that too.
type target struct {
	Namespace string
	ID        string
	Name      string `json:",omitempty"`
	Named     bool   `json:",omitempty"`
}

func targetOf(key edgews.ObjectKey) target {
	name := key.ID.Name()
	return target{Namespace: key.Namespace, ID: key.ID.String(), Name: name, Named: name != ""}
}

// requestHead is a request without its body.
type requestHead struct {
	target
	Method, URL, Host string
	Proto             [2]int
	RemoteAddr        string
	LocalAddr         string
	Header            sentHeader
	ContentLength     int64
	Body              bool
	TLS               bool
	RequestURI        string `json:",omitempty"` // if it is not URL
	Upgrade           bool
	ConnKey           string `json:",omitempty"` // of the connection, if it becomes a socket
	Epoch             uint64 // with which the home owns the shard, as far as the edge knows
}

// responseHead is a response without its body.
type responseHead struct {
	Status int
	Header sentHeader
}

// acceptHead says how the edge upgrades the connection.
type acceptHead struct {
	Header   sentHeader
	Protocol string
	Options  sentOptions
	Epoch    uint64          // with which the home owns the shard
	Kept     json.RawMessage `json:",omitempty"` // edgews.ClusterKept, if the object has accepted the socket
}

// sentOptions are the options of a socket that can be sent to its edge.
type sentOptions struct {
	MaxMessageSize   int64
	SendBuffer       int
	KeepAlive        time.Duration
	KeepAliveTimeout time.Duration
	CloseTimeout     time.Duration
	WriteTimeout     time.Duration
	RateMessages     int
	RateBytes        int
	Compression      sentCompression
	Overflow         edgews.Overflow `json:",omitempty"`
}

type sentCompression struct {
	Disable, NoContextTakeover bool
	WindowBits, Threshold      int
	Level                      int
}

// callHead is a call. The request is the first message.
type callHead struct {
	target
	Method  string
	Timeout time.Duration // 0: none
	Epoch   uint64        // as requestHead.Epoch
}

// sentError is the error of a call.
type sentError struct {
	Kind    string // the name of an error of edgews; "": none
	Code    string // of an edgews.CallError
	Message string
}

// errorKinds are the errors that callers can tell apart also between nodes.
var errorKinds = map[string]error{
	"overloaded": edgews.ErrOverloaded, "shutdown": edgews.ErrShutdown, "reentrant": edgews.ErrReentrant, "quota": edgews.ErrQuota,
	"invalid_id": edgews.ErrInvalidID, "unknown_method": edgews.ErrUnknownMethod, "aborted": edgews.ErrAborted, "fenced": edgews.ErrFenced,
	"not_home": edgews.ErrNotHome, "deadline": context.DeadlineExceeded, "canceled": context.Canceled,
}

func errorToSend(err error) sentError {
	e := sentError{Message: err.Error()}
	if called, ok := errors.AsType[*edgews.CallError](err); ok {
		e.Code, e.Message = called.Code, called.Message
		return e
	}
	for kind, target := range errorKinds {
		if errors.Is(err, target) {
			e.Kind = kind
		}
	}
	return e
}

func (e sentError) err() error {
	if e.Code != "" {
		return &edgews.CallError{Code: e.Code, Message: e.Message}
	}
	return &remoteError{e.Message, errorKinds[e.Kind]}
}

// remoteError is an error of another node.
type remoteError struct {
	text string
	is   error // nil: none that is known here
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

// socketHead announces a socket to the new home of its object.
type socketHead struct {
	target
	Shard                 Shard
	Epoch                 uint64
	ConnKey               string
	Kept                  edgews.ClusterKept
	Positions             edgews.ClusterPositions `json:",omitempty"`
	Topics                []string                `json:",omitempty"`
	AutoResponses         []edgews.AutoResponse   `json:",omitempty"`
	AutoRespondedAt       int64                   `json:",omitempty"` // in nanoseconds since 1970; 0: never
	Options               sentOptions
	Host, Path            string
	Protocol, Extensions  string
	RemoteAddr, LocalAddr string
	Handled               uint64
	Opened                int64 // when the client was accepted, in nanoseconds since 1970
}

// endHead says that a node has announced all sockets that it has of a shard to the owner with that epoch.
type endHead struct {
	Shard Shard
	Epoch uint64
}

// greeting returns the greeting of a channel.
func greeting(kind byte, head any) []byte {
	data, err := json.Marshal(head)
	if err != nil {
		panic(err) // the types above can be encoded
	}
	return append([]byte{kind}, data...)
}

// message returns a message with JSON.
func message(kind byte, content any) []byte { return greeting(kind, content) }

// bytesMessage returns a message with bytes.
func bytesMessage(kind byte, p []byte) []byte {
	m := make([]byte, 1+len(p))
	m[0] = kind
	copy(m[1:], p)
	return m
}

// closeMessage returns a Close.
func closeMessage(code edgews.StatusCode, reason string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{msgClose}, uint16(code)), reason...)
}

func parseClose(p []byte) (edgews.StatusCode, string) {
	if len(p) < 2 {
		return 0, ""
	}
	return edgews.StatusCode(binary.BigEndian.Uint16(p)), string(p[2:])
}

// numberMessage returns a message with numbers.
func numberMessage(kind byte, numbers ...uint64) []byte {
	m := []byte{kind}
	for _, n := range numbers {
		m = binary.BigEndian.AppendUint64(m, n)
	}
	return m
}

// number returns the n-th number of a message, or 0.
func number(p []byte, n int) uint64 {
	if len(p) < 8*(n+1) {
		return 0
	}
	return binary.BigEndian.Uint64(p[8*n:])
}

// textAddr is an address that another node has told.
type textAddr string

func (a textAddr) Network() string { return "tcp" }
func (a textAddr) String() string  { return string(a) }

var _ net.Addr = textAddr("")
