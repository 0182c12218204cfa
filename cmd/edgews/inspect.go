package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
)

var inspectCommand = &command{
	name:    "inspect",
	args:    "URL [TABLE]",
	summary: "show what the sockets and objects of a running server do",
	help: `
URL is where the server has mounted the handler of package inspect, such as http://localhost:8080/debug/edgews/; a URL without a path gets this
one. Without inspect.Options.Authorize the server answers only programs on its own machine.

TABLE is one of
  overview  sums, rates and latencies; this is shown without TABLE
  sockets   open sockets
  objects   objects in memory, and what keeps them awake
  alarms    alarms that are set, the next first
  cluster   nodes, shards, links between nodes, and recent changes, as the server sees them
  bill      what the usage costs, by price list and tenant
  log       protocol errors, crashes, refused upgrades and slow sockets, the newest last

QUEUE is what waits in the server until the peer reads it, WIRE the size of the frames in percent of the messages in them. COST is by unit prices, and
IF HIBERNATING what it would be if the object were active only while a handler runs.

On a terminal the columns that do not fit are left out. Elsewhere every column is printed, and with -json everything that the server tells:
the types of package inspect, in which times are Unix times in milliseconds and durations are milliseconds.

-sort of sockets is one of ` + strings.Join(inspect.SocketSorts, ", ") + `;
of objects one of ` + strings.Join(inspect.ObjectSorts, ", ") + `.`,
	examples: []string{
		"edgews inspect http://localhost:8080/debug/edgews/",
		"edgews inspect http://localhost:8080 sockets -state slow              # who does not read",
		"edgews inspect http://localhost:8080 sockets -sort queue -desc -watch",
		"edgews inspect http://localhost:8080 objects -state active            # who does not sleep, and why",
		"edgews inspect http://localhost:8080 objects -sort cost -desc -limit 5",
		"edgews inspect http://localhost:8080 sockets -json -limit 0 | jq -r '.sockets[] | select(.tags) | .remote'",
	},
	least: 1, greatest: 2, values: inspectTables,
	setup: func(fs *flag.FlagSet) runner {
		i := new(inspection)
		i.define(fs)
		return i.run
	},
}

// The tables, the first without an argument.
const (
	tableOverview = "overview"
	tableSockets  = "sockets"
	tableObjects  = "objects"
	tableAlarms   = "alarms"
	tableCluster  = "cluster"
	tableBill     = "bill"
	tableLog      = "log"
)

var inspectTables = []string{tableOverview, tableSockets, tableObjects, tableAlarms, tableCluster, tableBill, tableLog}

// tableFlags says which tables a flag of inspect is for. Flags that are not here are for all.
var tableFlags = map[string][]string{
	"search":    {tableSockets, tableObjects, tableBill, tableLog},
	"id":        {tableSockets, tableObjects},
	"name":      {tableSockets, tableObjects},
	"tag":       {tableSockets},
	"peer":      {tableSockets},
	"path":      {tableSockets},
	"pin":       {tableObjects},
	"namespace": {tableSockets, tableObjects, tableAlarms},
	"state":     {tableSockets, tableObjects},
	"kind":      {tableLog},
	"sort":      {tableSockets, tableObjects},
	"desc":      {tableSockets, tableObjects},
	"plan":      {tableObjects, tableBill},
	"limit":     {tableSockets, tableObjects, tableAlarms, tableBill, tableLog},
}

// inspection is the command inspect: its flags, and what it has while it runs.
type inspection struct {
	serverFlags
	search, id, name, tag, peer, path, pin, namespace, state, sort, plan string
	kinds                                                                list
	desc                                                                 bool
	limit                                                                int
	watch                                                                bool
	every                                                                time.Duration
	json                                                                 bool
	fs                                                                   *flag.FlagSet

	env     *env
	table   string
	client  *inspectClient
	seen    uint64 // with -watch: the last entry of the log that has been printed
	printed int    // with -watch: how many times a table was printed
}

func (i *inspection) define(fs *flag.FlagSet) {
	i.fs = fs
	i.serverFlags.define(fs)
	fs.StringVar(&i.search, "search", "", "only rows with this `text`: of sockets in the id, peer, host, path, tags, subprotocol or object;\n"+
		"of objects at the beginning of the ID or in the name; of the bill in the tenant; of the log in any text")
	fs.StringVar(&i.id, "id", "", "only the socket with this `id`, or objects whose ID begins with it")
	fs.StringVar(&i.name, "name", "", "only objects whose `name` has this in it, or sockets of the object with this name or ID")
	fs.StringVar(&i.tag, "tag", "", "only sockets with this `tag`")
	fs.StringVar(&i.peer, "peer", "", "only sockets whose peer's `address` has this in it")
	fs.StringVar(&i.path, "path", "", "only sockets whose `path` begins with this")
	fs.StringVar(&i.pin, "pin", "", "only objects that this `pin` keeps awake, such as WaitUntil or \"accepted socket\"")
	fs.StringVar(&i.namespace, "namespace", "", "only objects of this `namespace`, their sockets or alarms")
	fs.StringVar(&i.state, "state", "", "only this `state`: of sockets slow, parked, busy, dialed, served or closing;\nof objects active, idle, awake or hibernated")
	fs.Var(&i.kinds, "kind", "only entries of this `kind`: "+strings.Join(inspect.LogKinds, ", ")+"; may be repeated")
	fs.StringVar(&i.sort, "sort", "", "the `order` of sockets or objects, see above")
	fs.BoolVar(&i.desc, "desc", false, "the greatest first")
	fs.StringVar(&i.plan, "plan", "", "costs by this `price-list`, one of the server's")
	fs.IntVar(&i.limit, "limit", -1, "show this many `rows` at most; 0: all, of alarms and the log as many as the server gives at once. Without the flag 100, or what fits into the terminal with -watch")
	fs.BoolVar(&i.watch, "watch", false, "show the table again and again until ^C; of the log, elsewhere than on a terminal, only what is new")
	fs.DurationVar(&i.every, "every", 2*time.Second, "how often -watch asks the server")
	fs.BoolVar(&i.json, "json", false, "print JSON: one object, or one on each line with -watch")
}

// check returns what is wrong with the arguments.
func (i *inspection) check() error {
	if !slices.Contains(inspectTables, i.table) {
		return fmt.Errorf("there is no table %s; there are %s", quote(i.table), strings.Join(inspectTables, ", "))
	}
	var err error
	i.fs.Visit(func(f *flag.Flag) {
		if tables := tableFlags[f.Name]; tables != nil && !slices.Contains(tables, i.table) {
			err = fmt.Errorf("-%s is for %s, not for %s", f.Name, strings.Join(tables, " and "), i.table)
		}
	})
	switch {
	case err != nil:
		return err
	case i.limit < -1:
		return errors.New("-limit cannot be negative")
	case i.every < 100*time.Millisecond:
		return errors.New("-every must be at least 100ms")
	case i.table == tableObjects && count(i.search != "", i.id != "", i.name != "") > 1:
		return errors.New("objects are searched by one of -search, -id and -name")
	}
	return nil
}

// count returns how many of all are true.
func count(all ...bool) (n int) {
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}

// run prints the table, once or until ctx ends.
func (i *inspection) run(ctx context.Context, e *env, args []string) error {
	i.env, i.table = e, tableOverview
	if len(args) > 1 {
		i.table = args[1]
	}
	if err := i.check(); err != nil {
		return &usageError{err: err}
	}
	url, err := inspectURL(args[0])
	if err != nil {
		return &usageError{err: err}
	}
	i.client, err = dialInspector(ctx, url, &i.serverFlags)
	if err == nil {
		defer i.client.close()
		if i.watch {
			err = i.showAgainAndAgain(ctx)
		} else {
			err = i.showOnce(ctx)
		}
	}
	if ctx.Err() != nil {
		return cause(ctx)
	}
	if told, ok := errors.AsType[*edgews.CallError](err); ok && told.Code == edgews.CodeBadRequest {
		return &usageError{err: err}
	}
	return err
}

// showOnce prints the table, and on stderr that there are more rows.
func (i *inspection) showOnce(ctx context.Context) error {
	r, err := i.read(ctx, defaultInspectRows)
	if err != nil {
		return err
	}
	if i.json {
		return writeJSON(i.env.stdout, r.reply, "  ")
	}
	if err := r.write(i.env.stdout, i.paper()); err != nil {
		return err
	}
	if text := r.more(); text != "" {
		if i.limit < 0 {
			text += "; -limit says how many"
		}
		i.env.note("edgews: %s", text)
	}
	return nil
}

// defaultInspectRows is how many rows are shown without -limit, except where a screen has less room.
const defaultInspectRows = 100

// writeJSON prints v as JSON that cannot control a terminal.
func writeJSON(w io.Writer, v any, indent string) error {
	text, err := json.MarshalIndent(v, "", indent)
	if indent == "" {
		text, err = json.Marshal(v)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", escapeJSON(text))
	return err
}
