package inspect

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// listObjects answers CallObjects.
func (i *Inspector) listObjects(q ObjectsQuery) (ObjectList, error) {
	q.Sort = cmp.Or(q.Sort, ObjectSorts[0])
	if !slices.Contains(ObjectSorts, q.Sort) {
		return ObjectList{}, badRequest("objects are not sorted by %q", q.Sort)
	}
	plan, err := i.plan(q.Plan)
	if err != nil {
		return ObjectList{}, err
	}
	s, sampling := i.objectSamples.get()
	limit, offset := rowLimit(q.Limit, defaultRows), q.Offset
	q.Limit, q.Offset = 0, 0
	order := s.orders.get(q, func() []int32 { return s.order(q, plan) })
	part, offset := page(order, offset, limit)
	list := ObjectList{Total: len(s.objects), Selected: len(order), Offset: offset, Objects: make([]ObjectRow, 0, len(part)), Sampling: sampling}
	for _, k := range part {
		row, _ := i.objectRow(&s.objects[k], plan)
		list.Objects = append(list.Objects, row)
	}
	return list, nil
}

// order returns the objects that q selects.
func (s *objectSample) order(q ObjectsQuery, plan edgews.Plan) []int32 {
	q.Search = strings.ToLower(q.Search)
	pick := func(k int) bool { return s.objects[k].isSelected(&q) }
	compare := func(a, b int) int { return compareObjects(q.Sort, &s.objects[a], &s.objects[b]) }
	switch q.Sort {
	case "object": // they are in that order
		compare = nil
	case "cost":
		costs := make([]edgews.USD, len(s.objects))
		for k, x := range s.objects {
			if pick(k) {
				e, _ := x.key.namespace.ExplainObject(x.key.id, plan)
				costs[k] = e.Cost
			}
		}
		compare = func(a, b int) int { return cmp.Compare(costs[a], costs[b]) }
	}
	return selectRows(len(s.objects), pick, compare, q.Desc)
}

// isSelected reports whether q selects x. q.Search is in lower case.
func (x *sampledObject) isSelected(q *ObjectsQuery) bool {
	switch {
	case q.Namespace != "" && x.key.namespace.Name() != q.Namespace,
		q.State == "awake" && x.state == edgews.ObjectHibernated,
		q.State != "" && q.State != "awake" && x.state.String() != q.State,
		q.Pin != "" && !slices.Contains(x.pins, q.Pin):
		return false
	}
	return q.Search == "" || strings.HasPrefix(x.key.id.String(), q.Search) || containsFold(q.Search, x.key.id.Name())
}

// compareObjects compares by one of ObjectSorts other than "object" and "cost".
func compareObjects(by string, a, b *sampledObject) int {
	switch by {
	case "awake": // those that are not come last
		return cmp.Or(-difference(a.awake, b.awake), cmp.Compare(a.constructed, b.constructed))
	case "name":
		return strings.Compare(a.key.id.Name(), b.key.id.Name())
	case "sockets":
		return cmp.Compare(a.sockets, b.sockets)
	case "handled":
		return cmp.Compare(a.handled, b.handled)
	case "busy":
		return cmp.Compare(a.busy, b.busy)
	case "crashes":
		return cmp.Compare(a.crashes, b.crashes)
	}
	return cmp.Or(cmp.Compare(b.state, a.state), cmp.Compare(a.since, b.since))
}

// objectRow describes an object as it is now, or as it was in the sample if it has left the memory since.
func (i *Inspector) objectRow(x *sampledObject, plan edgews.Plan) (ObjectRow, edgews.Explanation) {
	n, facts := x.key.namespace, i.objects.get(x.key)
	e, inMemory := n.ExplainObject(x.key.id, plan)
	info := e.ObjectInfo
	if !inMemory {
		info.State, info.Sockets = x.state, int(x.sockets)
		if x.since != 0 {
			info.Since = time.Unix(0, x.since)
		}
	}
	row := ObjectRow{
		Namespace: escape(n.Name(), maxName), Object: x.key.id.String(), Name: escape(x.key.id.Name(), maxName), State: info.State.String(),
		Since: unixMillis(info.Since), Sockets: info.Sockets, Pins: info.Pins, PinnedUntil: unixMillis(info.PinnedUntil),
		Constructed: facts.constructed, Handled: facts.handled, Busy: millis(facts.busy), Crashes: facts.crashes, Alarms: facts.alarms,
		Commits: facts.commits,
	}
	if facts.wokenBy != 0 {
		row.WokenBy = facts.wokenBy.String()
	}
	for _, r := range e.Reasons {
		row.Why = append(row.Why, escape(r.String(), maxLogText))
	}
	if i.opts.Meter != nil && inMemory {
		row.Cost, row.Hibernating = dollars(e.Cost), dollars(e.Hibernated)
	}
	return row, e
}

// resolve returns the object that q names.
func (i *Inspector) resolve(q ObjectQuery) (objectKey, error) {
	n := i.namespace(q.Namespace)
	if n == nil {
		return objectKey{}, notFound("there is no namespace %q", q.Namespace)
	}
	switch {
	case q.Object != "":
		id, err := n.ParseID(q.Object)
		if err != nil {
			return objectKey{}, badRequest("%v", err)
		}
		return objectKey{n, id}, nil
	case q.Name != "":
		return objectKey{n, n.IDFromName(q.Name)}, nil
	}
	return objectKey{}, badRequest("name an object: object or name must be set")
}

// objectDetail answers CallObject.
func (i *Inspector) objectDetail(ctx context.Context, q ObjectQuery) (ObjectDetail, error) {
	plan, err := i.plan(q.Plan)
	if err != nil {
		return ObjectDetail{}, err
	}
	k, err := i.resolve(q)
	if err != nil {
		return ObjectDetail{}, err
	}
	x := sampledObject{key: k}
	row, e := i.objectRow(&x, plan)
	d := ObjectDetail{ObjectRow: row, Reasons: []Reason{}, Connections: i.connections(k)}
	_, inMemory := k.namespace.Info(k.id)
	if !inMemory {
		d.State = "absent"
	}
	alarm, err := alarmOf(ctx, k, inMemory)
	if d.Alarm = unixMillis(alarm); err != nil {
		d.AlarmError = escape(err.Error(), maxLogText)
	}
	for _, r := range e.Reasons {
		reason := Reason{Pin: r.Pin, Since: unixMillis(r.Since), By: escape(r.By, maxLogText)}
		if r.Socket != nil {
			reason.Socket = r.Socket.ID()
		}
		d.Reasons = append(d.Reasons, reason)
	}
	if i.opts.Meter != nil {
		bill := plan.UnitPrices().Bill(e.Used)
		d.Bill, d.Usage = &bill, usageItems(e.Used)
	}
	d.Log = i.log.about(func(l *LogEntry) bool { return l.Object == d.Object })
	return d, nil
}

// alarmOf returns when the alarm of an object is due, or the zero time. The storage of an object that is not in memory is not opened, since that
// would bring it there, so its alarm is looked for among the next ones of the namespace.
func alarmOf(ctx context.Context, k objectKey, inMemory bool) (time.Time, error) {
	if inMemory {
		return k.namespace.Alarm(ctx, k.id)
	}
	alarms, err := k.namespace.Alarms(ctx, time.Time{}, maxAlarms)
	if err != nil {
		return time.Time{}, err
	}
	for _, a := range alarms {
		if a.ID == k.id {
			return a.At, nil
		}
	}
	return time.Time{}, nil
}

// connections returns the sockets of an object.
func (i *Inspector) connections(k objectKey) []SocketRow {
	rows := []SocketRow{}
	for _, s := range k.namespace.Sockets(k.id) {
		if len(rows) == detailConnections {
			break
		}
		r := i.sockets.get(s.ID())
		if r == nil { // it was opened without this observer
			r = &socketRecord{socket: s, opened: unixMillis(s.Info().Opened)}
		}
		rows = append(rows, r.row())
	}
	return rows
}

// listAlarms answers CallAlarms.
func (i *Inspector) listAlarms(ctx context.Context, q AlarmsQuery) (AlarmList, error) {
	limit := rowLimit(q.Limit, defaultRows)
	var until time.Time
	if q.Until != 0 {
		until = time.UnixMilli(q.Until)
	}
	list := AlarmList{Alarms: []AlarmRow{}}
	for _, n := range *i.namespaces.Load() {
		if q.Namespace != "" && n.Name() != q.Namespace {
			continue
		}
		alarms, err := n.Alarms(ctx, until, limit+1)
		if err != nil {
			return AlarmList{}, failed(err)
		}
		for _, a := range alarms {
			list.Alarms = append(list.Alarms, AlarmRow{escape(n.Name(), maxName), a.ID.String(), escape(a.ID.Name(), maxName), unixMillis(a.At)})
		}
	}
	slices.SortStableFunc(list.Alarms, func(a, b AlarmRow) int { return cmp.Compare(a.At, b.At) })
	if list.More = len(list.Alarms) > limit; list.More {
		list.Alarms = list.Alarms[:limit]
	}
	return list, nil
}
