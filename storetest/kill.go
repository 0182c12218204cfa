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

// The process that is to be killed, the victim, has as many writers as this, each with an object of its own.
const writers = 12

// victimEnv names the folder of the victim's store.
const victimEnv = "EDGEWS_STORETEST_VICTIM"

// survive kills a victim in the middle of its work, several times on the same folder, and looks at what it leaves.
func survive(t *testing.T, open func(t *testing.T, dir string) edgews.Store) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	unsaid := 0 // commits that had happened without having been acknowledged
	var has [writers]int
	for round := range times(12) {
		acknowledged := kill(t, dir, has, 1+rng.IntN(1<<rng.IntN(11)))
		f := &folder{t: t, dir: dir, opener: open}
		s := f.reopen()
		for n := range byte(writers) {
			has[n] = inspect(t, s, n, acknowledged[n])
			unsaid += has[n] - acknowledged[n]
		}
		f.close()
		t.Logf("round %d: the last batches are %v", round, has)
	}
	t.Logf("%d commits had happened without having been acknowledged", unsaid)
}

// kill starts a victim, waits until it has acknowledged a number of batches, and returns the last one of each writer; last are those of
// the victims before.
func kill(t *testing.T, dir string, last [writers]int, after int) [writers]int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run="+onlyThis(strings.TrimSuffix(t.Name(), "/what_was_acknowledged_survives_a_kill")), "-test.count=1", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), victimEnv+"="+dir)
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() // it was killed, or its output says what else
	defer cmd.Process.Kill()

	output := bufio.NewReader(stdout)
	var strange []string
	for seen := 0; ; {
		line, err := output.ReadString('\n')
		if err == io.EOF { // an unfinished line acknowledges nothing
			if seen < after {
				t.Fatalf("the process ended by itself after %d commits:\n%s%s", seen, strings.Join(strange, ""), stderr)
			}
			return last
		}
		if err != nil {
			t.Fatal(err)
		}
		var n, batch int
		switch _, err := fmt.Sscanf(line, "writer %d has %d\n", &n, &batch); {
		case err != nil:
			strange = append(strange, line)
		case n >= writers || batch < last[n]:
			t.Fatalf("the process says %q after batch %d", line, last[n])
		case batch > last[n]: // at first a writer says what it has found
			last[n] = batch
			if seen++; seen == after {
				cmd.Process.Kill() // what it has said until then is still to be read
			}
		}
	}
}

// onlyThis is the filter that lets one test run.
func onlyThis(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// runVictim does nothing in an ordinary process. A victim it keeps until its end.
func runVictim(t *testing.T, open func(t *testing.T, dir string) edgews.Store) {
	dir := os.Getenv(victimEnv)
	if dir == "" {
		return
	}
	s := open(t, dir)
	var wg sync.WaitGroup
	for n := range byte(writers) {
		o := openKey(t, s, victimKey(n), 1)
		last := progress(o)
		say(n, last)
		wg.Go(func() {
			for i := last + 1; ; i++ {
				if err := o.Commit(context.Background(), victimBatch(n, i)); err != nil {
					fmt.Printf("writer %d: batch %d: %v\n", n, i, err)
					os.Exit(3)
				}
				say(n, i)
			}
		})
	}
	wg.Wait()
}

// say is one system call, so that a line is there or not.
func say(n byte, batch int) { fmt.Fprintf(os.Stdout, "writer %d has %d\n", n, batch) }

func victimKey(n byte) edgews.ObjectKey { return numbered(fmt.Sprint("namespace ", n%2), n) }

// progress is the last batch that an object has.
func progress(o *object) (batch int) {
	o.t.Helper()
	if value, err := o.Get(context.Background(), "batch"); err == nil {
		fmt.Sscan(string(value), &batch)
	}
	return batch
}

// victimBatch is the i-th batch of writer n. Every 40th begins from nothing, so what a batch leads to is quickly found out.
func victimBatch(n byte, i int) edgews.Batch {
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
		b.Alarm.Time = victimTime(i)
	}
	return b
}

func victimTime(i int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(i)) }

// inspect checks that an object is as one of its writer's batches has left it, and not before the last that was acknowledged.
func inspect(t *testing.T, s edgews.Store, n byte, acknowledged int) (batch int) {
	t.Helper()
	o := openKey(t, s, victimKey(n), 1)
	batch = progress(o)
	if batch != acknowledged && batch != acknowledged+1 { // one may have been on its way
		t.Fatalf("writer %d: batch %d was acknowledged, batch %d is there", n, acknowledged, batch)
	}
	twin := &twin{entries: map[string]string{}}
	for i := max(batch-batch%40, 1); i <= batch; i++ {
		twin.apply(victimBatch(n, i))
	}
	wantEntries(t, fmt.Sprintf("writer %d after batch %d", n, batch), o.list(""), twin.sorted(""))
	var alarm time.Time
	alarms := due(t, s, o.key.Namespace, victimTime(1<<30), all)
	if i := slices.IndexFunc(alarms, func(a edgews.DueAlarm) bool { return a.ID == o.key.ID }); i >= 0 {
		alarm = alarms[i].Time
	}
	if !alarm.Equal(twin.alarm) {
		t.Fatalf("writer %d after batch %d: the alarm is %v, want %v", n, batch, alarm, twin.alarm)
	}
	return batch
}
