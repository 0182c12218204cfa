// The code of docs/proxies.md.
package proxies_test

import (
	"log"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/edgewstest"
	"github.com/stretchr/testify/assert"
)

func handler(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(forwarded) > 0 {
		log.Println("client", forwarded[len(forwarded)-1], "through", s.RemoteAddr())
	}
	s.Accept()
	s.Send("welcome")
}

func TestForwarded(t *testing.T) {
	var logged strings.Builder
	log.SetOutput(&logged)
	defer log.SetOutput(log.Default().Writer())
	synctest.Test(t, func(t *testing.T) {
		srv := edgewstest.New(t, http.HandlerFunc(handler))
		peer := srv.DialPeer("/", http.Header{"X-Forwarded-For": {"6.6.6.6", "192.0.2.7"}})
		peer.Expect(edgewstest.TextFrame("welcome"))
	})
	assert.Contains(t, logged.String(), "client 192.0.2.7 through ")
}
