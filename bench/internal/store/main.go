//go:build linux

package store

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Names of what writes.
const (
	Storage = "edgews Storage" // objects with store/bolt, one for each writer
	Bbolt   = "bbolt"          // DB.Batch
)

// Config says what writes, how many writers there are at a time, and for how long. It is passed to the writers' process as flags.
type Config struct {
	Name    string
	Writers int
	Dir     string // for the file
	Length  time.Duration
}

// Report is the result, which the process prints as JSON.
type Report struct {
	Writes       int64
	Elapsed, CPU time.Duration
}

// Args returns the flags that Main reads.
func (c Config) Args() []string {
	return []string{"-name=" + c.Name, "-writers=" + strconv.Itoa(c.Writers), "-dir=" + c.Dir, "-length=" + c.Length.String()}
}

// Main is the writers' process. It warms up for a third of the measured time, and prints a Report.
func Main(args []string) error {
	var c Config
	f := flag.NewFlagSet("store", flag.ContinueOnError)
	f.StringVar(&c.Name, "name", "", "what writes")
	f.IntVar(&c.Writers, "writers", 1, "writers at a time")
	f.StringVar(&c.Dir, "dir", "", "directory for the file")
	f.DurationVar(&c.Length, "length", time.Second, "measured time")
	if err := f.Parse(args); err != nil {
		return err
	}
	w, err := c.open()
	if err != nil {
		return err
	}
	if _, err := c.run(w, c.Length/3); err != nil {
		return err
	}
	r, err := c.run(w, c.Length)
	if err != nil {
		return err
	}
	if err := w.close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// writer writes entries durably. write returns when the entry of that writer is on the disk.
type writer interface {
	write(ctx context.Context, writer int, value []byte) error
	close() error
}

func (c Config) open() (writer, error) {
	switch c.Name {
	case Storage:
		return openStorage(c)
	case Bbolt:
		return openBbolt(c)
	}
	return nil, fmt.Errorf("nothing that writes is called %q", c.Name)
}

// run lets all writers write one entry after the other for a time.
func (c Config) run(w writer, length time.Duration) (Report, error) {
	var r Report
	var writes atomic.Int64
	var wg sync.WaitGroup
	failed := make([]error, c.Writers)
	used, begin := processTime(), time.Now()
	for i := range c.Writers {
		wg.Go(func() {
			value := make([]byte, valueSize)
			for time.Since(begin) < length && failed[i] == nil {
				value = strconv.AppendInt(value[:0], writes.Add(1), 10)[:valueSize] // a new one each time
				failed[i] = w.write(context.Background(), i, value)
			}
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			return r, err
		}
	}
	return Report{writes.Load(), time.Since(begin), processTime() - used}, nil
}

// key and valueSize are those of each entry, in bytes. A writer changes its entry again and again.
const (
	key       = "state"
	valueSize = 128
)

// processTime returns the user and system time of this process.
func processTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
