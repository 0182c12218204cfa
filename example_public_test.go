package edgews_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/edgews/edgews"
)

// notPublic are the address blocks with which no service of the internet can be reached, besides those that netip.Addr knows: of the IANA's
// registries of special-purpose addresses, and IPv6 addresses that stand for IPv4 ones.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// publicOnly is for net.Dialer.Control, which is called when the name has been resolved, with the address that is connected to: a name that has
// two addresses, or another one a moment later, does not get past it.
func publicOnly(network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := ap.Addr().Unmap().WithZone("")
	public := ip.IsGlobalUnicast() && !ip.IsPrivate()
	for _, block := range notPublic {
		public = public && !block.Contains(ip)
	}
	if !public {
		return fmt.Errorf("%s is not a public address", ip)
	}
	return nil
}

// publicClient returns an http.Client that connects to public addresses only. A proxy of the environment would connect for it, and so is not used.
func publicClient() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: publicOnly}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext}}
}

// A program that dials a URL which a user has chosen must not let the user reach its own network. Redirects are checked too, since
// they are dialed in the same way. ProxyOptions.HTTPClient takes the same client.
func ExampleDialOptions_publicAddressesOnly() {
	inside := httptest.NewServer(http.NotFoundHandler()) // of the program's own network
	defer inside.Close()
	url := strings.Replace(inside.URL, "http://127.0.0.1", "ws://localhost", 1)

	_, _, err := edgews.Dial(context.Background(), url, &edgews.DialOptions{HTTPClient: publicClient()})
	fmt.Println(err != nil, strings.HasSuffix(err.Error(), "is not a public address"))
	// Output: true true
}
