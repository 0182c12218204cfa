// Package extendedconnect switches on the extended CONNECT of net/http's HTTP/2 server (RFC 8441), when it is initialised.
//
// net/http reads the setting http2xconnect of GODEBUG once, while it is initialised itself, and offers no other way to switch it. Go
// initialises packages in the order of their import paths, as soon as everything that they import is initialised. This package imports only
// what net/http imports too, and github.com comes before net/http, so it is initialised first in every program. It must not import more.
package extendedconnect

import (
	"os"
	"strings"
)

const setting = "http2xconnect="

// A value that the environment gives is kept, so that http2xconnect=0 still switches the extended CONNECT off.
func init() {
	debug := os.Getenv("GODEBUG")
	switch {
	case strings.Contains(debug, setting):
		return
	case debug != "":
		debug += ","
	}
	_ = os.Setenv("GODEBUG", debug+setting+"1") // fails for no value that has no NUL byte
}
