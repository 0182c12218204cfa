package inspect

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// logEntries is how many entries of each kind the log keeps, so that one kind does not push out the others.
const logEntries = 250

// eventLog is the last entries of each kind. The zero value is ready for use.
type eventLog struct {
	mu sync.Mutex // a leaf

	// Guarded by mu.
	kinds   map[string][]LogEntry // oldest first
	last    uint64                // the Seq of the last entry
	dropped uint64
}

// add appends e, whose texts are escaped and bounded here. What has happened again, right after the same of its kind, is counted in the entry
// that is there, which gets a new Seq.
func (l *eventLog) add(e LogEntry) {
	e.Text = escape(e.Text, maxLogText)
	e.Remote, e.Path, e.Namespace, e.Name = escape(e.Remote, maxName), escape(e.Path, maxName), escape(e.Namespace, maxName), escape(e.Name, maxName)
	e.At, e.Count = time.Now().UnixMilli(), 1
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.Seq = l.last
	list := l.kinds[e.Kind]
	if n := len(list); n > 0 && list[n-1].sameAs(&e) {
		e.Count += list[n-1].Count
		list[n-1] = e
		return
	}
	if len(list) == logEntries {
		list = append(list[:0], list[1:]...)
		l.dropped++
	}
	if l.kinds == nil {
		l.kinds = make(map[string][]LogEntry)
	}
	l.kinds[e.Kind] = append(list, e)
}

// sameAs reports whether e and f differ in nothing but when they were.
func (e *LogEntry) sameAs(f *LogEntry) bool {
	x := *e
	x.Seq, x.At, x.Count = f.Seq, f.At, f.Count
	return x == *f
}

// lastSeq returns the Seq of the last entry, or 0.
func (l *eventLog) lastSeq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// list returns the entries that q selects, the newest first.
func (l *eventLog) list(q LogQuery) LogList {
	search := strings.ToLower(q.Search)
	entries, last, dropped := l.selected(func(e *LogEntry) bool {
		return e.Seq > q.After && (len(q.Kinds) == 0 || slices.Contains(q.Kinds, e.Kind)) &&
			(search == "" || containsFold(search, e.Text, e.Remote, e.Path, e.Object, e.Name))
	}, rowLimit(q.Limit, defaultRows))
	return LogList{Entries: entries, Last: last, Dropped: dropped}
}

// about returns the newest entries that pick selects.
func (l *eventLog) about(pick func(*LogEntry) bool) []LogEntry {
	entries, _, _ := l.selected(pick, detailLogEntries)
	return entries
}

// selected returns at most limit entries, the newest first, the last Seq, and how many entries were dropped.
func (l *eventLog) selected(pick func(*LogEntry) bool, limit int) (entries []LogEntry, last, dropped uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries = []LogEntry{}
	for _, list := range l.kinds {
		for i := range list {
			if pick(&list[i]) {
				entries = append(entries, list[i])
			}
		}
	}
	slices.SortFunc(entries, func(a, b LogEntry) int { return cmp.Compare(b.Seq, a.Seq) })
	return slices.Clip(entries[:min(limit, len(entries))]), l.last, l.dropped
}

// containsFold reports whether one of the texts contains search, which is in lower case.
func containsFold(search string, texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), search) })
}
