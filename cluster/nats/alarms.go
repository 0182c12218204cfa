package edgewsnats

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// DueAlarms lists the alarms of all shards.
func (e *Engine) DueAlarms(ctx context.Context, namespace string, until time.Time, limit int) ([]edgews.DueAlarm, error) {
	return e.dueAlarms(ctx, namespace, until, limit, func(streams int, _ cluster.Config) ([]string, error) {
		var filters []string
		for k := range streams {
			filters = append(filters, layout{e.o.Name}.alarmSubjects(k, "*", namespace))
		}
		return filters, nil
	})
}

// DueShardAlarms lists the alarms of one shard.
func (e *Engine) DueShardAlarms(
	ctx context.Context, namespace string, s cluster.Shard, until time.Time, limit int,
) ([]edgews.DueAlarm, error) {
	return e.dueAlarms(ctx, namespace, until, limit, func(streams int, c cluster.Config) ([]string, error) {
		if int(s) >= c.Shards {
			return nil, fmt.Errorf("%w: shard %d of %d", cluster.ErrConfig, s, c.Shards)
		}
		filters := make([]string, streams)
		k := int(s) % streams
		filters[k] = layout{e.o.Name}.alarmSubjects(k, fmt.Sprint(s), namespace)
		return filters, nil
	})
}

// dueAlarms lists alarms. filtersOf returns the subjects to look at for each stream; an empty one leaves the stream out.
func (e *Engine) dueAlarms(
	ctx context.Context, namespace string, until time.Time, limit int, filtersOf func(streams int, c cluster.Config) ([]string, error),
) ([]edgews.DueAlarm, error) {
	inner, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	config, batches, err := e.setup()
	if err != nil {
		return nil, err
	}
	filters, err := filtersOf(len(batches), config)
	if err != nil {
		return nil, err
	}
	var found []indexedAlarm
	for k, filter := range filters {
		if filter != "" {
			more, err := e.indexed(inner, k, filter, until)
			if err != nil {
				return nil, e.ended(ctx, err)
			}
			found = append(found, more...)
		}
	}
	sortAlarms(found)
	due, err := e.verified(inner, namespace, found, until, limit)
	return due, e.ended(ctx, err)
}

// indexedAlarm is an entry of the index of alarms. The object need not have this alarm any more.
type indexedAlarm struct {
	edgews.DueAlarm
	stream, subject string
	current         bool // Time is what the object has, and not what the index has
}

// indexed returns the alarms in the index of one stream.
func (e *Engine) indexed(ctx context.Context, k int, filter string, until time.Time) (found []indexedAlarm, err error) {
	name := layout{e.o.Name}.objectsStream(k)
	subjects, err := e.subjects(ctx, name, filter)
	if err != nil {
		return nil, err
	}
	for _, subject := range subjects {
		a, err := parseAlarm(name, subject)
		if err != nil {
			return nil, err
		}
		if !a.Time.After(until) {
			found = append(found, a)
		}
	}
	return found, nil
}

func parseAlarm(stream, subject string) (indexedAlarm, error) {
	a := indexedAlarm{stream: stream, subject: subject}
	tokens := strings.Split(subject, ".")
	raw, err := hex.DecodeString(tokens[len(tokens)-2])
	if err != nil || len(raw) != timeLen || a.ID.UnmarshalText([]byte(tokens[len(tokens)-1])) != nil {
		return a, fmt.Errorf("%w: alarm %s", ErrDamaged, subject)
	}
	a.Time = parseTime(raw)
	return a, nil
}

// verified returns the first of the alarms that the objects have. It has those that are out of date removed from the index. found is in the
// order of time. An entry whose object has another alarm now gets the place of that one: there may be earlier ones of other objects before it.
func (e *Engine) verified(
	ctx context.Context, namespace string, found []indexedAlarm, until time.Time, limit int,
) (due []edgews.DueAlarm, err error) {
	seen := make(map[edgews.ID]bool)
	for len(found) > 0 && len(due) < limit {
		some := found[:min(len(found), limit-len(due), loadsAtOnce)]
		found = found[len(some):]
		times := make([]time.Time, len(some))
		err := atOnce(len(some), func(i int) (err error) {
			if times[i] = some[i].Time; !some[i].current {
				times[i], err = e.verify(ctx, namespace, some[i])
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		moved := false
		for i, a := range some {
			switch at := times[i]; {
			case at.IsZero() || at.After(until) || seen[a.ID]:
			case sameTime(at, a.Time):
				seen[a.ID] = true
				due = append(due, a.DueAlarm)
			default:
				moved, a.Time, a.current = true, at, true
				found = append(found, a)
			}
		}
		if moved {
			sortAlarms(found)
		}
	}
	slices.SortStableFunc(due, func(a, b edgews.DueAlarm) int { return a.Time.Compare(b.Time) }) // some may have been moved meanwhile
	return due, nil
}

func sortAlarms(found []indexedAlarm) {
	slices.SortFunc(found, func(a, b indexedAlarm) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.ID.String(), b.ID.String()))
	})
}

// verify returns the alarm that the object has now, and the zero time if it has none. It may be another one than that in the index: it has
// been moved since the index was read, or the entry is out of date. An entry is written together with the head, so a head that is later than
// the entry and has another alarm shows that the entry is out of date.
func (e *Engine) verify(ctx context.Context, namespace string, a indexedAlarm) (time.Time, error) {
	key := edgews.ObjectKey{Namespace: namespace, ID: a.ID}
	at, err := e.placeOf(key)
	if err != nil {
		return time.Time{}, err
	}
	entry, err := e.getLast(ctx, a.stream, a.subject)
	if err != nil {
		return time.Time{}, err
	}
	h, seq, err := (&object{e: e, key: key, at: at}).readHead(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if entry != nil && seq > entry.Seq && !sameTime(h.alarm, a.Time) {
		e.remove(a.stream, entry.Seq)
	}
	return h.alarm, nil
}
