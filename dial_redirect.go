package edgews

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// redirects decides which redirects Dial follows, and what goes along with the next request.
type redirectPolicy struct {
	handshake   *clientHandshake
	callers     func(*http.Request, []*http.Request) error // the caller's CheckRedirect, or nil
	crossedHost bool                                       // a redirect has led away from the first host: the caller's secrets stay behind
}

// maxRedirects is how many redirects http.Client follows without a policy.
const maxRedirects = 10

// check is the CheckRedirect of a handshake. The caller's policy comes after secrets have been dropped, so that it can add what the
// other host is to have, and before the check of the scheme, so that it can return the redirect itself as the answer.
func (d *redirectPolicy) check(r *http.Request, via []*http.Request) error {
	r.URL.Scheme = httpScheme(r.URL.Scheme)
	if d.crossedHost = d.crossedHost || !sameEndpoint(via[0].URL, r.URL); d.crossedHost {
		r.Header, r.Host = d.handshake.handshakeHeader(), ""
	}
	if err := d.checkCallers(r, via); err != nil {
		return err
	}
	if last := via[len(via)-1].URL; last.Scheme == "https" && r.URL.Scheme != "https" {
		return fmt.Errorf("it leads away from TLS, from %s to %s: dial that URL itself if it is to be used without",
			d.handshake.displayURL(last.String()), d.handshake.displayURL(r.URL.String()))
	}
	return nil
}

// followed asks the caller's policy, or net/http's default one.
func (d *redirectPolicy) checkCallers(r *http.Request, via []*http.Request) error {
	if d.callers != nil {
		return d.callers(r, via)
	}
	if len(via) >= maxRedirects {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

// sameEndpoint says whether what is meant for the server of one URL may be sent to that of another: the scheme, the host and the port
// are the same, or the second is the first over TLS.
func sameEndpoint(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	if from.Scheme == "http" && to.Scheme == "https" {
		return portOf(from) == portOf(to) || portOf(from) == "80" && portOf(to) == "443"
	}
	return from.Scheme == to.Scheme && portOf(from) == portOf(to)
}

// portOf returns the port of an http or https URL.
func portOf(u *url.URL) string {
	switch port := u.Port(); {
	case port != "":
		return port
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
