package handshake_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/edgews/edgews/internal/deflate"
	"github.com/edgews/edgews/internal/handshake"
)

func request(h http.Header) http.Header {
	all := http.Header{handshake.KeyHeader: {rfcKey}}
	for name, values := range h {
		all[name] = values
	}
	return all
}

func TestRespond(t *testing.T) {
	const begin = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + rfcAccept + "\r\n"
	for _, tt := range []struct {
		name      string
		request   http.Header
		protocols []string
		want      *deflate.Want
		bytes     string
	}{
		{"nothing offered", nil, []string{"chat"}, new(deflate.Want), begin + "\r\n"},
		{"the server's order decides", http.Header{handshake.ProtocolHeader: {"a, b", "c"}}, []string{"x", "c", "a"}, nil,
			begin + "Sec-WebSocket-Protocol: c\r\n\r\n"},
		{"compression", http.Header{handshake.ExtensionsHeader: {"permessage-deflate"}}, nil, new(deflate.Want),
			begin + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"},
		{"compression declined", http.Header{handshake.ExtensionsHeader: {"permessage-deflate"}}, nil, nil, begin + "\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := handshake.Respond(request(tt.request), tt.protocols, tt.want)
			assert.Equal(t, tt.bytes, string(resp.Bytes()))
			assert.Equal(t, resp.Extensions != "", resp.Deflate != nil)
		})
	}
}

func TestAddHeaderLeavesOutWhatBreaksA101(t *testing.T) {
	resp := handshake.Respond(request(nil), nil, nil)
	resp.AddHeader(http.Header{"Set-Cookie": {"a=1"}, "Content-Length": {"5"}, "Connection": {"close"}, "Sec-Websocket-Accept": {"x"}})
	resp.AddHeader(http.Header{"Set-Cookie": {"b=2\r\nX: y"}})
	assert.Contains(t, string(resp.Bytes()), "\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2  X: y\r\n\r\n")
}

func TestCheckProtocols(t *testing.T) {
	assert.NoError(t, handshake.CheckProtocols([]string{"a", "b"}))
	assert.ErrorContains(t, handshake.CheckProtocols([]string{"a b"}), "the protocol header token is invalid")
	assert.ErrorContains(t, handshake.CheckProtocols([]string{"a", ""}), "one of the protocol header tokens is invalid")
	assert.ErrorContains(t, handshake.CheckProtocols([]string{"a", "a"}), "cannot have repeating values")
}

func TestCheckResponse(t *testing.T) {
	good := http.Header{"Upgrade": {"WebSocket"}, "Connection": {"keep-alive, Upgrade"}, "Sec-Websocket-Accept": {rfcAccept}}
	require.NoError(t, handshake.CheckResponse(good, rfcKey))
	for name, values := range map[string][]string{
		"Upgrade":              {"websocket, h2c"},
		"Connection":           {"close"},
		"Sec-Websocket-Accept": {rfcAccept, rfcAccept},
	} {
		bad := good.Clone()
		bad[name] = values
		assert.ErrorContains(t, handshake.CheckResponse(bad, rfcKey), "but received", name)
	}
}

func TestChosenProtocol(t *testing.T) {
	for _, tt := range []struct {
		lines, offered []string
		want, err      string
	}{
		{nil, []string{"a"}, "", ""},
		{[]string{"b"}, []string{"a", "b"}, "b", ""},
		{[]string{"c"}, []string{"a", "b"}, "", "expected one of the subprotocols"},
		{[]string{"a", "b"}, []string{"a", "b"}, "", "expected one of the subprotocols"},
		{[]string{"a"}, nil, "", "none was asked for"},
	} {
		got, err := handshake.ChosenProtocol(http.Header{handshake.ProtocolHeader: tt.lines}, tt.offered)
		assert.Equal(t, tt.want, got)
		if tt.err == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, tt.err)
		}
	}
}

func TestChosenCompression(t *testing.T) {
	chosen := http.Header{handshake.ExtensionsHeader: {"permessage-deflate; client_max_window_bits=12"}}
	params, err := handshake.ChosenCompression(chosen, true)
	require.NoError(t, err)
	assert.Equal(t, &deflate.Params{ClientMaxWindowBits: 12}, params)
	_, err = handshake.ChosenCompression(chosen, false)
	assert.ErrorContains(t, err, "expected no extension")
	params, err = handshake.ChosenCompression(http.Header{handshake.ExtensionsHeader: {" , "}}, false)
	assert.NoError(t, err, "an empty element is none")
	assert.Nil(t, params)
}
