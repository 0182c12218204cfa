package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/inspect"
)

// reading is what the server has answered for a table.
type reading struct {
	reply    any // of package inspect: what -json prints
	sheets   []sheet
	text     string // after the sheets; it is escaped
	shown    int
	selected int    // rows that satisfy the flags; less than shown: not known
	unit     string // what a row is
}

// write prints a reading for people.
func (r *reading) write(w io.Writer, p paper) error {
	b := bufio.NewWriter(w)
	for n, s := range r.sheets {
		if n > 0 {
			fmt.Fprintln(b)
		}
		s.write(b, p)
	}
	if r.text != "" {
		fmt.Fprintln(b)
		for line := range strings.SplitSeq(r.text, "\n") {
			fmt.Fprintln(b, clip(line, p.columns))
		}
	}
	return b.Flush()
}

// more says that not all rows are shown; "" if they are.
func (r *reading) more() string {
	switch {
	case r.selected > r.shown:
		return fmt.Sprintf("%d of %d %s are shown", r.shown, r.selected, r.unit)
	case r.selected < 0:
		return fmt.Sprintf("the first %d %s are shown", r.shown, r.unit)
	}
	return ""
}

// read asks for the table. rows is how many there are at most unless -limit is set; 0: all.
func (i *inspection) read(ctx context.Context, rows int) (*reading, error) {
	if i.limit >= 0 {
		rows = i.limit
	}
	switch i.table {
	case tableSockets:
		return i.readSockets(ctx, rows)
	case tableObjects:
		return i.readObjects(ctx, rows)
	case tableAlarms:
		return i.readAlarms(ctx, rows)
	case tableCluster:
		return i.readCluster(ctx)
	case tableBill:
		return i.readBill(ctx, rows)
	case tableLog:
		return i.readLog(ctx, rows)
	}
	return i.readOverview(ctx)
}

// readSockets asks for sockets, or for the one of -id.
func (i *inspection) readSockets(ctx context.Context, rows int) (*reading, error) {
	if i.id != "" {
		return i.readSocket(ctx)
	}
	q := inspect.SocketsQuery{
		Search: i.search, Peer: i.peer, Path: i.path, Tag: i.tag, Namespace: i.namespace, Object: i.name, State: i.state, Sort: i.sort, Desc: i.desc,
	}
	var last inspect.SocketList
	all, err := gather(i.client, rows, func(offset, n int) ([]inspect.SocketRow, error) {
		q.Offset, q.Limit = offset, n
		var err error
		last, err = ask[inspect.SocketList](ctx, i.client, inspect.CallSockets, q)
		return last.Sockets, err
	})
	if err != nil {
		return nil, err
	}
	last.Offset, last.Sockets = 0, all
	r := &reading{reply: last, shown: len(all), selected: last.Selected, unit: "sockets"}
	r.sheets = []sheet{socketSheet(all, time.UnixMilli(last.Sampling.At))}
	return r, nil
}

// readSocket asks for the socket of -id.
func (i *inspection) readSocket(ctx context.Context) (*reading, error) {
	id, err := strconv.ParseUint(i.id, 10, 64)
	if err != nil {
		return nil, &usageError{err: fmt.Errorf("-id %s: the id of a socket is a number", quote(i.id))}
	}
	d, err := ask[inspect.SocketDetail](ctx, i.client, inspect.CallSocket, inspect.SocketQuery{Socket: id})
	if err != nil {
		return nil, err
	}
	return &reading{reply: d, sheets: []sheet{socketSheet([]inspect.SocketRow{d.SocketRow}, time.Now()), logSheet(d.Log)}}, nil
}

// readObjects asks for objects.
func (i *inspection) readObjects(ctx context.Context, rows int) (*reading, error) {
	q := inspect.ObjectsQuery{
		Search: i.search + i.id + i.name, Namespace: i.namespace, State: i.state, Pin: i.pin, Sort: i.sort, Desc: i.desc, Plan: i.plan,
	} // only one of the three is set
	var last inspect.ObjectList
	all, err := gather(i.client, rows, func(offset, n int) ([]inspect.ObjectRow, error) {
		q.Offset, q.Limit = offset, n
		var err error
		last, err = ask[inspect.ObjectList](ctx, i.client, inspect.CallObjects, q)
		return last.Objects, err
	})
	if err != nil {
		return nil, err
	}
	found := len(all)
	all = slices.DeleteFunc(all, func(o inspect.ObjectRow) bool { // the server searches in both
		return i.id != "" && !strings.HasPrefix(o.Object, strings.ToLower(i.id)) ||
			i.name != "" && !strings.Contains(strings.ToLower(o.Name), strings.ToLower(i.name))
	})
	others := found - len(all)
	last.Offset, last.Objects, last.Selected = 0, all, max(last.Selected-others, 0)
	return &reading{reply: last, sheets: []sheet{objectSheet(all)}, shown: len(all), selected: last.Selected, unit: "objects"}, nil
}

// readAlarms asks for alarms, which come in one reply.
func (i *inspection) readAlarms(ctx context.Context, rows int) (*reading, error) {
	if rows == 0 {
		rows = i.client.rows
	}
	l, err := ask[inspect.AlarmList](ctx, i.client, inspect.CallAlarms, inspect.AlarmsQuery{Namespace: i.namespace, Limit: rows})
	if err != nil {
		return nil, err
	}
	r := &reading{reply: l, sheets: []sheet{alarmSheet(l.Alarms)}, shown: len(l.Alarms), selected: len(l.Alarms), unit: "alarms"}
	if l.More {
		r.selected = -1
	}
	return r, nil
}

// readBill asks for the bill.
func (i *inspection) readBill(ctx context.Context, rows int) (*reading, error) {
	var last inspect.BillReport
	all, err := gather(i.client, rows, func(offset, n int) ([]inspect.TenantCost, error) {
		var err error
		q := inspect.BillQuery{Plan: i.plan, Search: i.search, Offset: offset, Limit: n}
		last, err = ask[inspect.BillReport](ctx, i.client, inspect.CallBill, q)
		return last.Tenants, err
	})
	if err != nil {
		return nil, err
	}
	last.Tenants = all
	r := &reading{reply: last, sheets: []sheet{planSheet(last.Plans)}, text: billText(last.Bill), shown: len(all), selected: last.Selected, unit: "tenants"}
	if len(all) > 0 {
		r.sheets = append(r.sheets, tenantSheet(all))
	}
	return r, nil
}

// billText returns a bill whose texts cannot look like other lines.
func billText(b edgews.Bill) string {
	b.Plan, b.Lines = escape(b.Plan, onOneLine), slices.Clone(b.Lines)
	for n := range b.Lines {
		l := &b.Lines[n]
		l.Item, l.Unit = escape(l.Item, onOneLine), escape(l.Unit, onOneLine)
	}
	return b.String()
}

// readLog asks for entries of the log, which come in one reply.
func (i *inspection) readLog(ctx context.Context, rows int) (*reading, error) {
	if rows == 0 {
		rows = math.MaxInt32 // the log is bounded, and so is a reply
	}
	q := inspect.LogQuery{Kinds: i.kinds, Search: i.search, Limit: rows, After: i.seen}
	l, err := ask[inspect.LogList](ctx, i.client, inspect.CallLog, q)
	if err != nil {
		return nil, err
	}
	r := &reading{reply: l, shown: len(l.Entries), selected: len(l.Entries)}
	l.Entries = slices.Clone(l.Entries)
	slices.Reverse(l.Entries)
	r.sheets = []sheet{logSheet(l.Entries)}
	return r, nil
}
