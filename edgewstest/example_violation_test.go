package edgewstest_test

import (
	"net/http"
	"testing"

	"github.com/edgews/edgews/edgewstest"
)

// A handler, or a server in front of it, is given everything that RFC 6455 forbids.
func ExampleViolation() {
	breakRule := func(t testing.TB, v edgewstest.Violation) {
		srv := edgewstest.New(t, http.HandlerFunc(greet))
		peer := srv.DialPeer("/", nil)
		peer.Expect(edgewstest.TextFrame("what is your name?"))
		peer.Write(v.Frames...)
		peer.ExpectClose(v.Code)
	}
	aTest(func(t testing.TB) {
		for _, v := range edgewstest.Violations() {
			breakRule(t, v)
		}
	})
	// Output: ok
}
