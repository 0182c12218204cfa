// Package start has the start-up code of the examples' servers, so that their error texts are the same.
package start

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/edgews/edgews/store/bolt"
)

// ParseFlags parses the command line of a program that has no arguments besides flags.
func ParseFlags() {
	flag.Parse()
	if err := NoArguments(flag.CommandLine); err != nil {
		fmt.Fprintln(flag.CommandLine.Output(), err)
		flag.Usage()
		os.Exit(2)
	}
}

// NoArguments returns an error if there are arguments besides flags.
func NoArguments(flags *flag.FlagSet) error {
	if flags.NArg() == 0 {
		return nil
	}
	return fmt.Errorf("%q is not a flag: there are no other arguments (see -help)", flags.Arg(0))
}

// OpenStore opens the file that the flag -data names.
func OpenStore(path string) (*bolt.Store, error) {
	store, err := bolt.Open(path, nil)
	if errors.Is(err, bolt.ErrLocked) {
		return nil, fmt.Errorf("%w: stop that program, or choose another file with -data", err)
	}
	return store, err
}

// Listen listens on the address that the flag -addr names, and returns the URL under which a browser on this machine finds it.
func Listen(addr string) (l net.Listener, url string, err error) {
	l, err = net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, "", fmt.Errorf("%s is in use by another program: choose another address, for example -addr localhost:8081", addr)
	case err != nil:
		return nil, "", fmt.Errorf("%w (choose another address with -addr)", err)
	}
	return l, urlOf(l.Addr()), nil
}

// urlOf replaces an unspecified address, such as 0.0.0.0, which browsers do not open.
func urlOf(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}
