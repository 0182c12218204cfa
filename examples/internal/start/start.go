// Package start has what the servers of the examples do when they start, so that the same error has the same words in each.
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
	if err := noArguments(flag.Args()); err != nil {
		fmt.Fprintln(flag.CommandLine.Output(), err)
		flag.Usage()
		os.Exit(2)
	}
}

func noArguments(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%q is not a flag: there are no other arguments", args[0])
}

// OpenStore opens the file of a program whose flag -data names it.
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

// urlOf leaves out an address that stands for all of the machine's, which browsers do not open.
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
