package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
)

// Stats is what a Go server says about its memory.
type Stats struct {
	Mallocs uint64 // objects allocated so far
	Bytes   uint64 // and their size
}

// control answers one line of orders with one line, until there are no more:
//
//	stats         Stats as JSON
//	gc            collects garbage, gives the memory back, says ok
//	profile FILE  starts a CPU profile, says ok
//	stop          ends it, says ok
//
// The pipe costs the server nothing while it is quiet, which an HTTP endpoint would.
func control(orders io.Reader, answers io.Writer) error {
	scanner := bufio.NewScanner(orders)
	var profile *os.File
	for scanner.Scan() {
		order, arg, _ := strings.Cut(scanner.Text(), " ")
		answer := "ok"
		switch order {
		case "stats":
			answer = stats()
		case "gc":
			runtime.GC()
			debug.FreeOSMemory()
		case "profile":
			var err error
			if profile, err = os.Create(arg); err == nil {
				err = pprof.StartCPUProfile(profile)
			}
			if err != nil {
				return err
			}
		case "stop":
			pprof.StopCPUProfile()
			if err := profile.Close(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown order %q", order)
		}
		fmt.Fprintln(answers, answer)
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	return io.EOF
}

func stats() string {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	line, err := json.Marshal(Stats{Mallocs: m.Mallocs, Bytes: m.TotalAlloc})
	if err != nil {
		return err.Error()
	}
	return string(line)
}
