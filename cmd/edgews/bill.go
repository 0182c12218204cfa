package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

var billCommand = &command{
	name:    "bill",
	args:    "[USAGE.json]",
	summary: "what a usage costs under published and custom price lists",
	help: `
USAGE.json is an edgews.Usage as JSON, such as json.Marshal(meter.Usage()) writes; - reads it from stdin. Its durations may also be written as
"1h30m". Flags for quantities replace what the file has. Everything counts for one billing period, a month in the published price lists.

A price list of -plan is one of those below, all of them, or a file that ends in .json and has an edgews.Plan:
  ` + planNames("\n  "),
	examples: []string{
		"edgews bill -connections 100000 -messages-in 50000000 -active 720h",
		"edgews bill -plan durable-objects -plan mine.json usage.json",
		"curl -s https://example.com/usage | edgews bill -plan all -json - | jq '.[] | {plan, total}'",
	},
	greatest: 1,
	setup: func(fs *flag.FlagSet) runner {
		b := new(bill)
		b.define(fs)
		return b.run
	},
}

// bill is the command bill with its flags.
type bill struct {
	plans list
	json  bool
	usage edgews.Usage // of the flags
	fs    *flag.FlagSet
}

// quantities are the fields of edgews.Usage that have a flag, in the order of a bill.
var quantities = []struct{ field, meaning string }{
	{"HTTPRequests", "HTTP requests to objects that did not become a socket"},
	{"Connections", "sockets that were opened by a peer"},
	{"MessagesIn", "messages received"},
	{"MessagesOut", "messages sent"},
	{"AutoResponses", "messages that were answered without waking an object"},
	{"Alarms", "runs of an alarm handler"},
	{"BytesIn", "bytes of messages received"},
	{"BytesOut", "bytes of messages sent"},
	{"MinuteBytes", "bytes of the minutes of connections, see edgews.Usage"},
	{"Active", "how long objects were active, summed over objects"},
	{"Connected", "how long connections were open, summed over connections"},
	{"Busy", "how long handlers ran"},
	{"RowsRead", "entries of storage read"},
	{"RowsWritten", "entries of storage written"},
	{"ReadUnits", "units of 4 KB read from storage"},
	{"WriteUnits", "units of 4 KB written to storage"},
	{"Deletes", "keys deleted from storage"},
	{"StoredByteHours", "bytes stored, times the hours for which they were"},
}

func (b *bill) define(fs *flag.FlagSet) {
	b.fs = fs
	fs.Var(&b.plans, "plan", "the `price-list`; may be repeated. Without the flag it is durable-objects")
	fs.BoolVar(&b.json, "json", false, "print a JSON array with one bill for each price list")
	usage := reflect.ValueOf(&b.usage).Elem()
	for _, q := range quantities {
		switch p := usage.FieldByName(q.field).Addr().Interface().(type) {
		case *int64:
			fs.Int64Var(p, flagName(q.field), 0, q.meaning)
		case *time.Duration:
			fs.DurationVar(p, flagName(q.field), 0, q.meaning)
		}
	}
}

// flagName returns the flag for a field: http-requests for HTTPRequests.
func flagName(field string) string {
	var b strings.Builder
	for i, r := range field {
		upper := r >= 'A' && r <= 'Z'
		startsWord := upper && i > 0 && (field[i-1] >= 'a' || i+1 < len(field) && field[i+1] >= 'a')
		if startsWord {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// run prints a bill for each price list.
func (b *bill) run(_ context.Context, e *env, args []string) error {
	usage, err := b.read(e, args)
	if err != nil {
		return &usageError{err: err}
	}
	if b.plans == nil {
		b.plans = list{plans[0].name}
	}
	bills := []edgews.Bill{}
	for _, name := range b.plans {
		chosen, err := plansOf(name)
		if err != nil {
			return &usageError{err: err}
		}
		for _, p := range chosen {
			bills = append(bills, p.Bill(usage))
		}
	}
	if b.json {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(bills)
	}
	for i, one := range bills {
		separator := "\n"
		if i == 0 {
			separator = ""
		}
		fmt.Fprint(e.stdout, separator)
		for line := range strings.SplitSeq(one.String(), "\n") {
			fmt.Fprintln(e.stdout, escape(line, onOneLine))
		}
	}
	return nil
}

// read returns the usage of the file, with that of the flags in place of what they name.
func (b *bill) read(e *env, args []string) (edgews.Usage, error) {
	var u edgews.Usage
	if len(args) > 0 {
		text, err := readInput(e, args[0])
		if err == nil {
			u, err = parseUsage(text)
		}
		if err != nil {
			return u, fmt.Errorf("%s: %w", args[0], err)
		}
	}
	given := make(map[string]bool)
	b.fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	from, to := reflect.ValueOf(b.usage), reflect.ValueOf(&u).Elem()
	found := len(args) > 0
	for _, q := range quantities {
		if given[flagName(q.field)] {
			to.FieldByName(q.field).Set(from.FieldByName(q.field))
			found = true
		}
	}
	if !found {
		return u, errors.New("there is no usage: name a file, - for stdin, or give flags such as -connections")
	}
	for i := range to.NumField() {
		if n := to.Field(i).Int(); n < 0 {
			return u, fmt.Errorf("%s is %d: it cannot be negative", to.Type().Field(i).Name, n)
		}
	}
	return u, nil
}

// readInput returns the content of the file, or of stdin for "-".
func readInput(e *env, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(e.stdin)
	}
	return os.ReadFile(name)
}

// parseUsage reads a usage. Durations are nanoseconds, or text such as "1h30m".
func parseUsage(text []byte) (edgews.Usage, error) {
	var u edgews.Usage
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return u, fmt.Errorf("it is not a usage as a JSON object: %w", err)
	}
	for _, name := range []string{"Active", "Connected", "Busy"} {
		var written string
		if json.Unmarshal(fields[name], &written) != nil {
			continue
		}
		d, err := time.ParseDuration(written)
		if err != nil {
			return u, fmt.Errorf("%s: %w", name, err)
		}
		fields[name] = fmt.Appendf(nil, "%d", d)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return u, err
	}
	return u, decodeStrictly(text, &u)
}

// decodeStrictly decodes JSON and refuses fields that v does not have, so that a misspelt one does not make a bill smaller.
func decodeStrictly(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
