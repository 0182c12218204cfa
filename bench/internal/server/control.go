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

// control answers each line of commands with one line, until the input ends:
//
//	stats         Stats as JSON
//	gc            collects garbage, returns the memory to the system, answers ok
//	http          serves HTTP and answers the address; a request collects garbage
//	profile NAME  starts a CPU profile, answers ok
//	stop          ends it, answers ok; the profile is in NAME.cpu, and that of allocations in NAME.allocs
//
// Unlike an HTTP endpoint, the pipe costs the server nothing while it is not used.
func control(input io.Reader, answers io.Writer) error {
	scanner := bufio.NewScanner(input)
	var p profile
	for scanner.Scan() {
		command, arg, _ := strings.Cut(scanner.Text(), " ")
		answer, err := "ok", error(nil)
		switch command {
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
			err = fmt.Errorf("unknown command %q", command)
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

// controlInput returns standard input as a file that is read through the runtime's poller. A blocking system call would keep a processor
// until the scheduler's monitor takes it away, and the server has only one.
func controlInput() (io.Reader, error) {
	if err := syscall.SetNonblock(syscall.Stdin, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(syscall.Stdin), "control"), nil
}

// collectOnRequest starts an HTTP server that collects garbage before it answers, and returns its address.
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
