package conformance_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/edgews/edgews"
)

// The runtime and edgews have different error texts. Transcripts contain kinds of errors, named after those of edgews.

// jsKinds maps texts of the runtime to the errors that edgews returns for the same mistake.
var jsKinds = []struct{ text, kind string }{
	{"Invalid WebSocket close code", "ErrInvalidClose"},
	{"If you specify a WebSocket close reason", "ErrInvalidClose"},
	{"WebSocket close reason must not be longer", "ErrInvalidClose"},
	{"You must call one of accept()", "ErrNotAccepted"},
	{"Can't call WebSocket send() after close()", "ErrClosed"},
	{"constructor cannot call accept", "ErrAccepted"},
	{"already used in a response", "ErrUsed"},
	{"if the WebSocket was already accepted via", "ErrAccepted"},
	{"its pair has already been accepted or used", "ErrAccepted"},
	{"after enabling hibernation", "ErrAccepted"},
	{"cannot have more than 10 tags", "ErrTooManyTags"},
	{"is longer than the max tag length", "ErrTagTooLong"},
	{"before attempting to access the tags", "ErrNotOwned"},
	{"only hibernatable websockets can have tags", "ErrNotOwned"},
	{"cannot be larger than 2048 bytes", "ErrAutoResponseTooBig"},
	{"websockets can be accepted on a single", "ErrTooManySockets"},
}

var goKinds = []struct {
	err  error
	kind string
}{
	{edgews.ErrInvalidClose, "ErrInvalidClose"},
	{edgews.ErrNotAccepted, "ErrNotAccepted"},
	{edgews.ErrClosed, "ErrClosed"},
	{edgews.ErrAccepted, "ErrAccepted"},
	{edgews.ErrUsed, "ErrUsed"},
	{edgews.ErrInvalidUTF8, "ErrInvalidUTF8"},
	{edgews.ErrBufferFull, "ErrBufferFull"},
	{edgews.ErrTooManyTags, "ErrTooManyTags"},
	{edgews.ErrTagTooLong, "ErrTagTooLong"},
	{edgews.ErrNotOwned, "ErrNotOwned"},
	{edgews.ErrAutoResponseTooBig, "ErrAutoResponseTooBig"},
	{edgews.ErrTooManySockets, "ErrTooManySockets"},
}

// outcome names the result of a recorded call.
func (e *entry) outcome() string {
	if e.OK {
		return "ok"
	}
	for _, k := range jsKinds {
		if strings.Contains(e.Error.Message, k.text) {
			return k.kind
		}
	}
	return e.Error.Message
}

// outcome names the result of a call of edgews.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	for _, k := range goKinds {
		if errors.Is(err, k.err) {
			return k.kind
		}
	}
	return err.Error()
}

var (
	jsProtocolError  = regexp.MustCompile(`protocolError\.statusCode = (\d+)`)
	jsHandshakeError = regexp.MustCompile(`Failed to establish.* but received (\d+) instead`)
)

// jsCause names the error of a recorded error event. connecting: the socket was never open.
func jsCause(message string, connecting bool) string {
	message = strings.TrimPrefix(message, "Uncaught ")
	if m := jsProtocolError.FindStringSubmatch(message); m != nil {
		return "protocol " + m[1]
	}
	if m := jsHandshakeError.FindStringSubmatch(message); m != nil {
		return "handshake " + m[1]
	}
	switch {
	case strings.HasPrefix(message, "Error: internal error") && connecting, strings.HasSuffix(message, "Network connection lost.") && connecting:
		return "handshake"
	case strings.HasSuffix(message, "Network connection lost."):
		return "connection lost"
	}
	return "listener: " + strings.TrimPrefix(message, "Error: ")
}

// cause names the error of an error event of edgews.
func cause(err error) string {
	if e, ok := errors.AsType[*edgews.ProtocolError](err); ok {
		return fmt.Sprintf("protocol %d", uint16(e.Code))
	}
	if e, ok := errors.AsType[*edgews.HandshakeError](err); ok {
		if e.StatusCode == 0 {
			return "handshake"
		}
		return fmt.Sprintf("handshake %d", e.StatusCode)
	}
	if errors.Is(err, edgews.ErrMessageTooBig) {
		return "protocol 1009"
	}
	if text, ok := strings.CutPrefix(err.Error(), "edgews: listener panicked: "); ok {
		return "listener: " + text
	}
	return "connection lost"
}
