// Bill prints the cost of a service with WebSockets under a published or a custom price list, and the savings through hibernation.
//
//	go run ./examples/bill
//	go run ./examples/bill -objects 20 -sockets 500 -hours 8 -messages 0.5 -handler 3ms
//	go run ./examples/bill -reads 1 -writes 1 -entry-size 400 -stored 50000000 -plan durable-objects-kv
//	go run ./examples/bill -example G4-2
//	go run ./examples/bill -example G4-2 -plan mine.json
//	go run ./examples/bill -list
//
// A custom price list is an edgews.Plan in JSON:
//
//	{
//		"name": "Acme Chat",
//		"base": 20,
//		"connected_time": {"price": 0.01, "per": 3600},
//		"messages": {"included": 10000, "price": "2.50", "per": 1000000}
//	}
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/edgews/edgews"
)

func main() {
	log.SetFlags(0)
	err := run(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return // it has been printed
	}
	if err != nil {
		log.Fatal("bill: ", err)
	}
}

// run runs the program with these arguments.
func run(args []string, out io.Writer) error {
	q, err := parse(args, out)
	if err != nil {
		return err
	}
	switch {
	case q.list:
		return list(out)
	case q.json:
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(q.plan.Estimate(q.expect))
	}
	fmt.Fprintf(out, "%s.\n\n%s\n", describe(q.expect), q.plan.Estimate(q.expect))
	if q.example.published != "" {
		fmt.Fprintf(out, "\nPublished example %s: %s.%s\n", q.example.name, q.example.published, q.example.note)
	}
	if hibernates(q.expect) {
		compare(out, q.plan, q.expect)
	}
	return nil
}

// describe describes the expectation in words.
func describe(e edgews.Expectation) string {
	var parts []string
	if e.Sockets > 0 {
		open, whose := "always open", "plain handlers"
		if e.Open > 0 && e.Open < 24*time.Hour {
			open = fmt.Sprintf("open %s a day", short(e.Open))
		}
		if e.Objects > 0 {
			whose = "each of " + plural(e.Objects, "object")
		}
		parts = append(parts, fmt.Sprintf("%s of %s, %s", plural(e.Sockets, "socket"), whose, open),
			fmt.Sprintf("%s from each in %s, handled in %s", plural(e.Messages, "message"), short(e.Every), short(e.MessageTime)))
	}
	if e.HTTPRequests > 0 {
		parts = append(parts, fmt.Sprintf("%s, handled in %s", plural(e.HTTPRequests, "HTTP request"), short(e.RequestTime)))
	}
	if e.Alarms > 0 {
		parts = append(parts, fmt.Sprintf("%s, handled in %s", plural(e.Alarms, "alarm"), short(e.AlarmTime)))
	}
	if e.Reads+e.Writes+e.Deletes > 0 {
		parts = append(parts, fmt.Sprintf("%s, %s and %s of %s for each message, request and alarm",
			plural(e.Reads, "read"), plural(e.Writes, "write"), plural(e.Deletes, "delete"), plural(e.EntrySize, "byte")))
	}
	if e.Stored > 0 {
		parts = append(parts, plural(e.Stored, "byte")+" stored in "+ownerOfStorage(e))
	}
	if e.Active > 0 {
		parts = append(parts, "objects active for "+short(e.Active))
	}
	if len(parts) == 0 {
		parts = []string{"nothing"}
	}
	return fmt.Sprintf("Expected in %s: %s", plural(e.Days, "day"), strings.Join(parts, "; "))
}

func ownerOfStorage(e edgews.Expectation) string {
	if e.Objects > 0 {
		return "each object"
	}
	return "all"
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// short writes 8h, not 8h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// hibernates reports whether hibernation makes a difference.
func hibernates(e edgews.Expectation) bool { return e.Objects > 0 && e.Sockets > 0 && e.Active == 0 }

// compare prints the cost with and without hibernation in two columns.
func compare(out io.Writer, p edgews.Plan, e edgews.Expectation) {
	e.Hibernate = false
	awake := p.Estimate(e)
	e.Hibernate = true
	asleep := p.Estimate(e)
	if awake.Total == asleep.Total {
		fmt.Fprintln(out, "\nHibernating or not costs the same.")
		return
	}
	fmt.Fprintln(out, "\nThe same sockets, without and with hibernation:")
	row := func(item string, accept, acceptWebSocket any) {
		fmt.Fprintf(out, "%-16s%16s%18s\n", item, accept, acceptWebSocket)
	}
	row("", "Accept", "AcceptWebSocket")
	for i, line := range awake.Lines {
		row(line.Item, line.Cost, asleep.Lines[i].Cost)
	}
	row("total", awake.Total, asleep.Total)
}

func list(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "Plans, for -plan; or the name of a JSON file:")
	for _, p := range plans {
		fmt.Fprintf(w, "  %s\t%s\n", p.name, p.plan.Name)
	}
	fmt.Fprintln(w, "\nPublished examples, for -example:")
	for _, e := range examples {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", e.name, e.published, e.title)
	}
	return w.Flush()
}

// plans are the price lists by their names for -plan.
var plans = []struct {
	name string
	plan edgews.Plan
}{
	{"durable-objects", edgews.DurableObjects},
	{"durable-objects-kv", edgews.DurableObjectsKV},
	{"durable-objects-2024", edgews.DurableObjects2024},
	{"durable-objects-2023", edgews.DurableObjects2023},
	{"workers-standard", edgews.WorkersStandard},
	{"workers-bundled", edgews.WorkersBundled},
	{"workers-unbound", edgews.WorkersUnbound},
	{"active-connection-2021", edgews.ActiveConnection2021},
}

// planOf returns the plan with that name, or reads it from the file with that name.
func planOf(name string) (edgews.Plan, error) {
	var names []string
	for _, p := range plans {
		if p.name == name {
			return p.plan, nil
		}
		names = append(names, p.name)
	}
	if !strings.HasSuffix(name, ".json") {
		return edgews.Plan{}, fmt.Errorf("there is no plan %q: use %s, or a file that ends in .json", name, strings.Join(names, ", "))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return edgews.Plan{}, err
	}
	var p edgews.Plan
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return edgews.Plan{}, fmt.Errorf("%s is not a plan: %w", name, err)
	}
	return p, nil
}
