package storetest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

// A child process is killed while it commits. writers is the number of its goroutines, each of which commits to an object of its own.
const writers = 12

// childEnv is set in the child process: the folder of its store.
const childEnv = "EDGEWS_STORETEST_VICTIM"

// testKills kills a child process that commits, several times with the same folder, and checks the store after each kill.
func testKills(t *testing.T, open func(t *testing.T, dir string) edgews.Store) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	unacknowledged := 0 // commits that were in the store although the child had not reported them
	var has [writers]int
	for round := range times(12) {
		acknowledged := kill(t, dir, has, 1+rng.IntN(1<<rng.IntN(11)))
		f := &folder{t: t, dir: dir, opener: open}
		s := f.reopen()
		for n := range byte(writers) {
			has[n] = checkWriter(t, s, n, acknowledged[n])
			unacknowledged += has[n] - acknowledged[n]
		}
		f.close()
		t.Logf("round %d: the last batches are %v", round, has)
	}
	t.Logf("%d commits were in the store without having been acknowledged", unacknowledged)
}

// kill starts a child process, kills it when it has acknowledged a number of batches, and returns the last acknowledged batch of each
// writer. The argument last has those of the earlier processes.
func kill(t *testing.T, dir string, last [writers]int, after int) [writers]int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run="+onlyThis(strings.TrimSuffix(t.Name(), "/acknowledged_commits_survive_a_kill")), "-test.count=1", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // the error is ignored: the process was killed, or its output says why it ended
	defer cmd.Process.Kill()

	output := bufio.NewReader(stdout)
	var otherLines []string
	for seen := 0; ; {
		line, err := output.ReadString('\n')
		if err == io.EOF { // an unfinished line acknowledges nothing
			if seen < after {
				t.Fatalf("the process ended by itself after %d commits:\n%s%s", seen, strings.Join(otherLines, ""), stderr)
			}
			return last
		}
		if err != nil {
			t.Fatal(err)
		}
		var n, batch int
		switch _, err := fmt.Sscanf(line, "writer %d has %d\n", &n, &batch); {
		case err != nil:
			otherLines = append(otherLines, line)
		case n >= writers || batch < last[n]:
			t.Fatalf("the process reports %q after batch %d", line, last[n])
		case batch > last[n]: // the first report of a writer is the batch that it has found
			last[n] = batch
			if seen++; seen == after {
				cmd.Process.Kill() // the loop still reads what it has reported until then
			}
		}
	}
}

// onlyThis returns a -test.run pattern for one test.
func onlyThis(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// runChild commits until the process is killed, if this is the child process. Otherwise it does nothing.
func runChild(t *testing.T, open func(t *testing.T, dir string) edgews.Store) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return
	}
	s := open(t, dir)
	var wg sync.WaitGroup
	for n := range byte(writers) {
		o := openKey(t, s, writerKey(n), 1)
		last := lastBatch(o)
		report(n, last)
		wg.Go(func() {
			for i := last + 1; ; i++ {
				if err := o.Commit(context.Background(), writerBatch(n, i)); err != nil {
					fmt.Printf("writer %d: batch %d: %v\n", n, i, err)
					os.Exit(3)
				}
				report(n, i)
			}
		})
	}
	wg.Wait()
}

// report writes a line in one system call, so that it is never cut off.
func report(n byte, batch int) { fmt.Fprintf(os.Stdout, "writer %d has %d\n", n, batch) }

func writerKey(n byte) edgews.ObjectKey { return numbered(fmt.Sprint("namespace ", n%2), n) }

// lastBatch returns the number of the last batch of an object.
func lastBatch(o *object) (batch int) {
	o.t.Helper()
	if value, err := o.Get(context.Background(), "batch"); err == nil {
		fmt.Sscan(string(value), &batch)
	}
	return batch
}

// writerBatch returns the i-th batch of writer n. Every 40th batch deletes everything first, so that the expected content follows from
// few batches.
func writerBatch(n byte, i int) edgews.Batch {
	b := edgews.Batch{
		DeleteAll: i%40 == 0,
		Deletes:   []string{fmt.Sprintf("log/%d", i-5), fmt.Sprintf("log/%d", i-11)},
		Puts:      entries("batch", fmt.Sprint(i), fmt.Sprintf("log/%d", i), "v", "zz/copy", fmt.Sprint(i)),
		Alarm:     &edgews.AlarmChange{},
	}
	for part := range i % 4 {
		size := 10
		if (i+int(n))%25 == 0 {
			size = 60_000
		}
		b.Puts = append(b.Puts, entries(fmt.Sprint("part/", part), fmt.Sprintf("%*d", size, i))...)
	}
	if i%7 > 0 {
		b.Alarm.Time = writerTime(i)
	}
	return b
}

func writerTime(i int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(i)) }

// checkWriter checks that the object of a writer is as a batch has left it: the last acknowledged one or the next one.
func checkWriter(t *testing.T, s edgews.Store, n byte, acknowledged int) (batch int) {
	t.Helper()
	o := openKey(t, s, writerKey(n), 1)
	batch = lastBatch(o)
	if batch != acknowledged && batch != acknowledged+1 { // one may have been committed before it was reported
		t.Fatalf("writer %d: batch %d was acknowledged, batch %d is there", n, acknowledged, batch)
	}
	want := &reference{entries: map[string]string{}}
	for i := max(batch-batch%40, 1); i <= batch; i++ {
		want.apply(writerBatch(n, i))
	}
	wantEntries(t, fmt.Sprintf("writer %d after batch %d", n, batch), o.list(""), want.selected(edgews.Range{}))
	var alarm time.Time
	alarms := due(t, s, o.key.Namespace, writerTime(1<<30), all)
	if i := slices.IndexFunc(alarms, func(a edgews.DueAlarm) bool { return a.ID == o.key.ID }); i >= 0 {
		alarm = alarms[i].Time
	}
	if !alarm.Equal(want.alarm) {
		t.Fatalf("writer %d after batch %d: the alarm is %v, want %v", n, batch, alarm, want.alarm)
	}
	return batch
}
