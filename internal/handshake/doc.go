// Package handshake has the opening handshake of RFC 6455 §4: what a server checks in a request and answers, what a client checks in
// a response, and how either takes the connection over from net/http.
//
// It returns plain values. The root package makes its exported errors of them, chooses the options and owns the connection afterwards.
package handshake
