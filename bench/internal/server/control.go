package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// Stats is what a Go server reports about its memory and its messages.
type Stats struct {
	Mallocs  uint64 // objects allocated so far
	Bytes    uint64 // and their size
	Messages int64  // binary messages handled so far, with Count or Block

	At time.Duration // since the process started
}

var started = time.Now()

// control answers one line of orders with one line, until there are no more:
//
//	stats         Stats as JSON
//	gc            collects garbage, gives the memory back, says ok
//	http          serves HTTP at an address that it says; a request collects garbage
//	profile NAME  starts a CPU profile, says ok
//	stop          ends it, says ok; it is then in NAME.cpu, and what was allocated so far in NAME.allocs
//
// The pipe costs the server nothing while it is quiet, which an HTTP endpoint would.
func control(orders io.Reader, answers io.Writer) error {
	scanner := bufio.NewScanner(orders)
	var p profile
	for scanner.Scan() {
		order, arg, _ := strings.Cut(scanner.Text(), " ")
		answer, err := "ok", error(nil)
		switch order {
		case "stats":
			answer, err = stats()
		case "gc":
			runtime.GC()
			debug.FreeOSMemory()
		case "http":
			answer, err = collectOnRequest()
		case "profile":
			p.name = arg
			err = p.start()
		case "stop":
			err = p.stop()
		default:
			err = fmt.Errorf("unknown order %q", order)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(answers, answer)
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	return io.EOF
}

// orders returns standard input as a file that is read through the runtime's poller. Waiting in a system call instead would keep a
// processor until the scheduler's monitor takes it away, and the server of the benchmark has only one.
func orders() (io.Reader, error) {
	if err := syscall.SetNonblock(syscall.Stdin, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(syscall.Stdin), "orders"), nil
}

// collectOnRequest returns the address of an HTTP server that collects garbage before it answers.
func collectOnRequest() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go serveHTTP(l, func(http.ResponseWriter, *http.Request) { runtime.GC() })
	return l.Addr().String(), nil
}

func stats() (string, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	line, err := json.Marshal(Stats{Mallocs: m.Mallocs, Bytes: m.TotalAlloc, Messages: received.Load(), At: time.Since(started)})
	return string(line), err
}
