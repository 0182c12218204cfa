package edgews

import (
	"errors"
	"fmt"
	"net/http"
)

// redirectPolicy decides which redirects Dial follows, and what is sent with the next request.
type redirectPolicy struct {
	handshake   *clientHandshake
	callers     func(*http.Request, []*http.Request) error // the caller's CheckRedirect, or nil
	crossedHost bool                                       // a redirect has led to another host: the caller's secrets are not sent any more
}

// maxRedirects is how many redirects http.Client follows without a policy.
const maxRedirects = 10

// check is the CheckRedirect of a handshake. The caller's policy is asked after secrets have been dropped, so that it can add what the
// other host needs, and before the scheme is checked, so that it can return the redirect itself as the response.
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

// checkCallers asks the caller's policy, or applies net/http's default one.
func (d *redirectPolicy) checkCallers(r *http.Request, via []*http.Request) error {
	if d.callers != nil {
		return d.callers(r, via)
	}
	if len(via) >= maxRedirects {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}
