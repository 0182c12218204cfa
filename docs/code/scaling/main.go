// Scaling computes what a large cluster asks of its engine, its links and its machines, from figures that have been measured on small ones.
//
//	go run ./docs/code/scaling -nodes 20 -sockets 5000000
//
// docs/scaling.md explains what it prints. It is arithmetic: nothing of that size has been run.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	var f figures
	f.register(flag.CommandLine)
	flag.Parse()
	if f.nodes < 2 || f.sockets < 1 || f.objects < 1 || f.shards < 1 || f.topics < 0 || f.cores < 1 {
		fmt.Fprintln(os.Stderr, "scaling: at least 2 nodes and one of everything else are needed")
		os.Exit(2)
	}
	f.print(os.Stdout)
}

// print prints all sections, with columns, and without spaces at the ends of lines.
func (f *figures) print(out io.Writer) {
	var aligned strings.Builder
	w := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	f.printInputs(w)
	f.printEngine(w)
	f.printCommits(w)
	f.printLinks(w)
	f.printTopics(w)
	f.printShards(w)
	f.printMemory(w)
	f.printDeath(w)
	f.printBreaks(w)
	w.Flush() // a strings.Builder takes everything
	for line := range strings.Lines(aligned.String()) {
		fmt.Fprintln(out, strings.TrimRight(line, " \n"))
	}
}

func (f *figures) printInputs(w io.Writer) {
	fmt.Fprintln(w, "COMPUTED WITH")
	for _, row := range f.table() {
		fmt.Fprintf(w, "-%s\t%s\t%s\n", row.name, with(valueOf(row.value), row.unit), row.source)
	}
}

func valueOf(p any) float64 {
	if n, ok := p.(*int); ok {
		return float64(*n)
	}
	return *p.(*float64)
}

// renewals returns how many renewals all nodes send in a second.
func (f *figures) renewals() float64 { return float64(f.nodes) / (f.ttl / 4) }

func (f *figures) printEngine(w io.Writer) {
	n := float64(f.nodes)
	fmt.Fprintln(w, "\nRECORDS AT THE ENGINE")
	fmt.Fprintf(w, "renewals\t%s\tone per node and TTL/4\n", with(f.renewals(), "/s"))
	fmt.Fprintf(w, "of the engine's commits\t%s\t\n", percent(f.renewals()/f.commits))
	fmt.Fprintf(w, "renewals that Watch shows\t%s\teach to each node\n", with(f.renewals()*n, "/s"))
	fmt.Fprintf(w, "claims when the cluster starts\t%s\tin %s\n", number(float64(f.shards)), with(float64(f.shards)/f.claims, "s"))
	fmt.Fprintf(w, "claims when a node dies\t%s\tin %s\n", number(f.shardsOfNode()), with(f.shardsOfNode()/f.claims, "s"))
	fmt.Fprintf(w, "changes that Watch shows then\t%s\teach to each node\n", number(f.shardsOfNode()*n))
}

func (f *figures) shardsOfNode() float64 { return float64(f.shards) / float64(f.nodes) }

// intervals are the seconds between two messages of a socket.
var intervals = []float64{1, 10, 60, 600, 3600, 24 * 3600}

func (f *figures) printCommits(w io.Writer) {
	fmt.Fprintln(w, "\nMESSAGES OF CLIENTS")
	fmt.Fprintln(w, "each socket sends one every\tcommits, if each writes\tengines for them\tframes of links, per node\tcores for these")
	for _, s := range intervals {
		rate := float64(f.sockets) / s
		frames := f.framesOfNode(rate)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", duration(s), with(rate, "/s"), number(math.Ceil(rate/f.commits)), with(frames, "/s"), number(frames/f.frames))
	}
	fmt.Fprintf(w, "%s\t%s\t1\twhat one engine can do\n", duration(float64(f.sockets)/f.commits), with(f.commits, "/s"))
}

// framesOfNode returns how many frames a node sends and receives in a second: as edge and as home a message and an answer to each.
func (f *figures) framesOfNode(rate float64) float64 { return 4 * rate / float64(f.nodes) }

func (f *figures) printLinks(w io.Writer) {
	n := float64(f.nodes)
	fmt.Fprintln(w, "\nLINKS")
	fmt.Fprintf(w, "connections, all\t%s\tone per ordered pair of nodes; that of a node with itself is in its memory\n", number(n*(n-1)))
	fmt.Fprintf(w, "connections of a node\t%s\t\n", number(2*n-2))
	fmt.Fprintf(w, "channels of a link\t%s\tone per socket; %s of the limit\n", number(f.channels()), percent(f.channels()/float64(f.maxChannel)))
	fmt.Fprintf(w, "windows of a node, if all are full\t%s\tboth directions of all links\n", with(f.windows(), "B"))
	fmt.Fprintf(w, "windows of one link, if it is full\t%s\tone home is stuck\n", with(f.windows()/(2*n), "B"))
}

// channels returns how many channels a link has: sockets of one edge at one home.
func (f *figures) channels() float64 { return float64(f.sockets) / float64(f.nodes) / float64(f.nodes) }

// windows returns the bytes that wait in the links of a node at most.
func (f *figures) windows() float64 {
	return 2 * float64(f.nodes) * (float64(f.linkWindow) + 2*f.channels()*float64(f.channelWindow))
}

// topicHash is how many bytes a node tells another one of a topic.
const topicHash = 8

func (f *figures) printTopics(w io.Writer) {
	others := float64(f.nodes - 1)
	told := float64(f.topics) * others
	fmt.Fprintln(w, "\nTOPICS")
	fmt.Fprintf(w, "of others, known to a node\t%s\t%s for each topic that another node wants\n", with(told*f.topicBytes, "B"), with(f.topicBytes, "B"))
	fmt.Fprintf(w, "told to a node that joins\t%s\t%d bytes for each\n", with(told*topicHash, "B"), topicHash)
	fmt.Fprintf(w, "messages for one Publish\t%s\tat most: one to each node with subscribers\n", number(others))
}

func (f *figures) printShards(w io.Writer) {
	fmt.Fprintf(w, "\nSHARDS OF %s NODES\tper node\tleast\tmost\tmost, of the mean\tclaims at the start\n", number(float64(f.nodes)))
	for _, shards := range []int{1024, 8192, 65536} {
		least, most, ratio := balance(f.nodes, shards)
		fmt.Fprintf(w, "%s\t%.0f\t%d\t%d\t%.2f\t%s\n", number(float64(shards)), float64(shards)/float64(f.nodes), least, most, ratio, with(float64(shards)/f.claims, "s"))
	}
}

func (f *figures) printMemory(w io.Writer) {
	each := float64(f.sockets) / float64(f.nodes)
	fmt.Fprintln(w, "\nMEMORY OF A NODE, IDLE")
	fmt.Fprintf(w, "connections\t%s\t%s sockets\n", with(each*f.socketBytes, "B"), number(each))
	fmt.Fprintf(w, "as edge\t%s\t\n", with(each*f.edgeBytes, "B"))
	fmt.Fprintf(w, "as home\t%s\tof as many sockets\n", with(each*f.homeBytes, "B"))
	fmt.Fprintf(w, "all\t%s\twithout TLS, objects and what the program keeps\n", with(f.memory(), "B"))
}

// memory returns the bytes of a node's sockets.
func (f *figures) memory() float64 {
	return float64(f.sockets) / float64(f.nodes) * (f.socketBytes + f.edgeBytes + f.homeBytes)
}

// death is what happens after a node has died: seconds.
type death struct{ claims, opens, moves float64 }

func (f *figures) death() death {
	left := float64(f.nodes - 1)
	objects := float64(f.objects) / float64(f.nodes)
	sockets := float64(f.sockets) / float64(f.nodes)
	return death{
		claims: f.shardsOfNode() / f.claims,
		opens:  objects / f.commits,
		moves:  sockets / left * f.moveTime / float64(f.cores),
	}
}

// deadAfter is cluster.DeadAfter: when only the lease tells that a node is dead.
func (f *figures) deadAfter() float64 { return f.ttl + f.ttl/8 }

func (d death) sum() float64 { return d.claims + d.opens + d.moves }

func (f *figures) printDeath(w io.Writer) {
	d, left := f.death(), float64(f.nodes-1)
	sockets := float64(f.sockets) / float64(f.nodes)
	fmt.Fprintln(w, "\nWHEN A NODE DIES")
	fmt.Fprintf(w, "its port refuses\t0 s\tor %s, if its machine is lost\n", with(f.deadAfter(), "s"))
	fmt.Fprintf(w, "its shards are claimed\t%s\t%s\n", with(d.claims, "s"), number(f.shardsOfNode()))
	fmt.Fprintf(w, "its objects with sockets are opened\t%s\t%s, a commit each with a new epoch\n", with(d.opens, "s"), number(float64(f.objects)/float64(f.nodes)))
	fmt.Fprintf(w, "its objects' sockets are announced\t%s\t%s at each edge, and as many at each home\n", with(d.moves, "s"), number(sockets/left))
	fmt.Fprintf(w, "pause of its objects\t%s\tor %s, if its machine is lost\n", with(d.sum(), "s"), with(d.sum()+f.deadAfter(), "s"))
	fmt.Fprintf(w, "clients of its edge come back\t%s\tCPU of each other node for %s handshakes, without TLS\n", with(sockets/left*f.connectTime, "s"), number(sockets/left))
}

// printBreaks prints what is used up first: how often the demand fits into what there is.
func (f *figures) printBreaks(w io.Writer) {
	hourly := float64(f.sockets) / 3600
	type part struct {
		what string
		used float64 // 1: all
	}
	parts := []part{
		{"commits of one engine, one writing message per socket and hour", hourly / f.commits},
		{"commits of one engine, renewals only", f.renewals() / f.commits},
		{"channels of a link", f.channels() / float64(f.maxChannel)},
		{"cores of a node for links, one message per socket and minute", f.framesOfNode(float64(f.sockets)/60) / f.frames / float64(f.cores)},
		{"memory of a node with 64 GiB", f.memory() / (64 << 30)},
		{"a pause of 15 s after a node's death, if its port refuses", f.death().sum() / 15},
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(b.used, a.used) })
	fmt.Fprintln(w, "\nWHAT IS USED UP FIRST\tused")
	for _, p := range parts {
		fmt.Fprintf(w, "%s\t%s\n", p.what, percent(p.used))
	}
}

// number returns three digits that count, and commas.
func number(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0.01:
		return "< 0.01"
	case x < 100 && x != math.Trunc(x):
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	digits := strconv.FormatFloat(math.Round(x), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// with returns a number with its unit; seconds and bytes in units of a suitable size.
func with(x float64, unit string) string {
	switch {
	case unit == "B" && x >= 1<<30:
		return fmt.Sprintf("%.1f GiB", x/(1<<30))
	case unit == "B" && x >= 1<<20:
		return fmt.Sprintf("%.0f MiB", x/(1<<20))
	case unit == "s" && x < 1e-3:
		return fmt.Sprintf("%.0f µs", x*1e6)
	case unit == "s" && x < 1:
		return fmt.Sprintf("%.0f ms", x*1e3)
	case unit == "s" && x >= 100:
		return duration(x)
	case unit == "/s":
		return number(x) + "/s"
	case unit == "":
		return number(x)
	}
	return number(x) + " " + unit
}

// duration returns seconds in units of a suitable size.
func duration(s float64) string {
	switch {
	case s >= 2*24*3600:
		return fmt.Sprintf("%.1f d", s/24/3600)
	case s > 3600:
		return fmt.Sprintf("%.1f h", s/3600)
	case s >= 120:
		return fmt.Sprintf("%.0f min", s/60)
	}
	return number(s) + " s"
}

// percent returns a part of 1.
func percent(x float64) string {
	if x < 0.01 {
		return fmt.Sprintf("%.2f %%", 100*x)
	}
	return number(math.Round(100*x)) + " %"
}
