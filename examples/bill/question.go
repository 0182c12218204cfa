package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/examples/internal/start"
)

// question has the values of the arguments.
type question struct {
	plan       edgews.Plan
	expect     edgews.Expectation
	example    example // or none
	list, json bool
}

// usual is the expectation without arguments: the published example of hibernation.
func usual() example {
	for _, e := range examples {
		if e.name == "G4-4" {
			return e
		}
	}
	panic("bill: example G4-4 is missing")
}

// counts and times are the flags that set a field of the expectation.
var (
	counts = []struct {
		name, usage string
		field       func(*edgews.Expectation) *int64
	}{
		{"days", "`days` of the billing period, 1 at least (default: 30)", func(e *edgews.Expectation) *int64 { return &e.Days }},
		{"objects", "`number` of objects; 0: sockets of plain handlers (default: 100)", func(e *edgews.Expectation) *int64 { return &e.Objects }},
		{"sockets", "`number` of sockets of each object (default: 100)", func(e *edgews.Expectation) *int64 { return &e.Sockets }},
		{"replies", "`number` of messages sent for one received", func(e *edgews.Expectation) *int64 { return &e.Replies }},
		{"size", "`bytes` of a message", func(e *edgews.Expectation) *int64 { return &e.MessageSize }},
		{"minute-floor", "`bytes` that a minute of a connection counts at least", func(e *edgews.Expectation) *int64 { return &e.MinuteFloor }},
		{"reads", "`number` of entries that a handler reads from storage each time", func(e *edgews.Expectation) *int64 { return &e.Reads }},
		{"writes", "`number` of entries that a handler puts into storage each time", func(e *edgews.Expectation) *int64 { return &e.Writes }},
		{"deletes", "`number` of keys that a handler deletes each time", func(e *edgews.Expectation) *int64 { return &e.Deletes }},
		{"entry-size", "`bytes` of an entry in storage, key and value", func(e *edgews.Expectation) *int64 { return &e.EntrySize }},
		{"stored", "`bytes` that each object stores", func(e *edgews.Expectation) *int64 { return &e.Stored }},
		{"requests", "`number` of HTTP requests in the period", func(e *edgews.Expectation) *int64 { return &e.HTTPRequests }},
		{"alarms", "`number` of alarms in the period", func(e *edgews.Expectation) *int64 { return &e.Alarms }},
	}
	times = []struct {
		name, usage string
		field       func(*edgews.Expectation) *time.Duration
	}{
		{"handler", "`time` in the handler for each message (default: 10ms)", func(e *edgews.Expectation) *time.Duration { return &e.MessageTime }},
		{"request-time", "`time` in the handler for each HTTP request", func(e *edgews.Expectation) *time.Duration { return &e.RequestTime }},
		{"alarm-time", "`time` in the handler for each alarm", func(e *edgews.Expectation) *time.Duration { return &e.AlarmTime }},
	}
)

// parse starts with the example and then applies the other flags, independent of their order.
func parse(args []string, out io.Writer) (question, error) {
	var q question
	var planName, exampleName string
	flags := flag.NewFlagSet("bill", flag.ContinueOnError)
	flags.StringVar(&planName, "plan", "", "`name` of a price list, see -list, or of a JSON file (default: durable-objects)")
	flags.StringVar(&exampleName, "example", "", "`name` of a published example to begin with, see -list")
	flags.BoolVar(&q.json, "json", false, "print the bill as JSON")
	flags.BoolVar(&q.list, "list", false, "list price lists and published examples")
	var c changes
	c.define(flags)

	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(out, "Usage: go run ./examples/bill [flags]")
		flags.SetOutput(out)
		flags.PrintDefaults()
	}
	if err != nil {
		return q, err
	}
	if err := start.NoArguments(flags); err != nil {
		return q, err
	}
	return q, q.resolve(exampleName, planName, c)
}

// changes are the changes of the expectation by flags.
type changes []func(*edgews.Expectation)

func (c *changes) add(change func(*edgews.Expectation)) { *c = append(*c, change) }

func (c *changes) define(flags *flag.FlagSet) {
	for _, f := range counts {
		flags.Func(f.name, f.usage, func(text string) error {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 {
				return fmt.Errorf("want a whole number from 0 to %d", int64(math.MaxInt64))
			}
			c.add(func(e *edgews.Expectation) { *f.field(e) = n })
			return nil
		})
	}
	for _, f := range times {
		flags.Func(f.name, f.usage, func(text string) error {
			d, err := time.ParseDuration(text)
			if err != nil || d < 0 {
				return errors.New("want a time, such as 10ms")
			}
			c.add(func(e *edgews.Expectation) { *f.field(e) = d })
			return nil
		})
	}
	flags.Func("hours", "`hours` a day for which the sockets are open, such as 8 or 7.5 (default: 24)", func(text string) error {
		open, err := hours(text)
		c.add(func(e *edgews.Expectation) { e.Open = open })
		return err
	})
	flags.Func("messages", "`number` of messages from each socket a minute, such as 60, 0.5 or 1/3 (default: 1)", func(text string) error {
		n, every, err := perMinute(text)
		c.add(func(e *edgews.Expectation) { e.Messages, e.Every = n, every })
		return err
	})
	flags.BoolFunc("hibernate", "the objects take their sockets with AcceptWebSocket (default: true)", func(text string) error {
		yes, err := strconv.ParseBool(text)
		c.add(func(e *edgews.Expectation) { e.Hibernate = yes })
		return err
	})
}

// resolve looks up the names. The published sum is printed only for an unchanged example.
func (q *question) resolve(exampleName, planName string, c changes) (err error) {
	base := usual()
	if exampleName != "" {
		if base, err = exampleOf(exampleName); err != nil {
			return err
		}
		if len(c) == 0 && planName == "" {
			q.example = base
		}
	}
	q.plan, q.expect = base.plan, base.expect
	if planName != "" {
		if q.plan, err = planOf(planName); err != nil {
			return err
		}
	}
	for _, change := range c {
		change(&q.expect)
	}
	if q.expect.Days == 0 {
		return errors.New("-days 0: want a day at least")
	}
	return nil
}

// hours parses a part of a day. A whole day is zero, as in an Expectation.
func hours(text string) (time.Duration, error) {
	h, ok := new(big.Rat).SetString(text)
	if !ok || h.Sign() <= 0 || h.Cmp(big.NewRat(24, 1)) > 0 {
		return 0, errors.New("want hours, more than 0 and up to 24")
	}
	h.Mul(h, big.NewRat(int64(time.Hour), 1))
	return time.Duration(new(big.Int).Quo(h.Num(), h.Denom()).Int64()), nil
}

// perMinute parses an exact rate: 1/3 is one in three minutes.
func perMinute(text string) (n int64, every time.Duration, err error) {
	rate, ok := new(big.Rat).SetString(text)
	if !ok || rate.Sign() < 0 || !rate.Num().IsInt64() || rate.Denom().Cmp(big.NewInt(math.MaxInt64/int64(time.Minute))) > 0 {
		return 0, 0, errors.New("want messages a minute, such as 60, 0.5 or 1/3")
	}
	return rate.Num().Int64(), time.Duration(rate.Denom().Int64()) * time.Minute, nil
}
