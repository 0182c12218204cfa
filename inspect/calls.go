package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"time"

	"github.com/edgews/edgews"
)

// callTimeout bounds a call, which may read from a Store.
const callTimeout = 10 * time.Second

// handle registers a call.
func handle[Req, Resp any](i *Inspector, call string, fn func(context.Context, Req) (Resp, error)) {
	edgews.HandleCall(&i.mux, call, func(ctx context.Context, _ *edgews.Socket, req Req) (Resp, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return fn(ctx, req)
	})
}

// withoutContext is fn for handle.
func withoutContext[Req, Resp any](fn func(Req) (Resp, error)) func(context.Context, Req) (Resp, error) {
	return func(_ context.Context, req Req) (Resp, error) { return fn(req) }
}

// registerCalls registers the calls that only read.
func (i *Inspector) registerCalls() {
	i.mux.MaxDepth, i.mux.MaxValues = 16, 1000
	handle(i, CallHello, func(context.Context, struct{}) (Hello, error) { return i.hello(), nil })
	handle(i, CallOverview, func(context.Context, struct{}) (Overview, error) { return i.overview(), nil })
	handle(i, CallHistory, withoutContext(i.history.answer))
	handle(i, CallSockets, withoutContext(i.listSockets))
	handle(i, CallSocket, withoutContext(i.socketDetail))
	handle(i, CallObjects, withoutContext(i.listObjects))
	handle(i, CallObject, i.objectDetail)
	handle(i, CallStorage, i.listStorage)
	handle(i, CallValue, i.value)
	handle(i, CallAlarms, i.listAlarms)
	handle(i, CallBill, withoutContext(i.bill))
	handle(i, CallLog, func(_ context.Context, q LogQuery) (LogList, error) { return i.log.list(q), nil })
	handle(i, CallCluster, func(context.Context, struct{}) (ClusterReport, error) { return i.cluster(), nil })
	handle(i, CallWatch, watchCall)
	handle(i, CallUnwatch, unwatchCall)
}

// badRequest, notFound and failed return errors that the peer is told.
func badRequest(format string, args ...any) error {
	return &edgews.CallError{Code: edgews.CodeBadRequest, Message: "edgews: inspect: " + fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &edgews.CallError{Code: CodeNotFound, Message: "edgews: inspect: " + fmt.Sprintf(format, args...)}
}

func failed(err error) error {
	if _, ok := errors.AsType[*edgews.CallError](err); ok || err == nil {
		return err
	}
	return &edgews.CallError{Code: CodeFailed, Message: escape(err.Error(), maxLogText)}
}

func (i *Inspector) hello() Hello {
	host, _ := os.Hostname() // without one it is ""
	h := Hello{
		Version: ProtocolVersion, Now: time.Now().UnixMilli(), Started: i.started.UnixMilli(), Program: filepath.Base(os.Args[0]),
		PID: os.Getpid(), Host: host, Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, Actions: i.opts.AllowActions,
		Redact: i.opts.Redact != nil, Meter: i.opts.Meter != nil, Namespaces: []string{}, MaxRows: maxRows, MinEvery: millis(minEvery),
		MaxWatches: maxWatches,
	}
	for _, n := range *i.namespaces.Load() {
		h.Namespaces = append(h.Namespaces, n.Name())
	}
	for _, p := range i.plans {
		h.Plans = append(h.Plans, p.Name)
	}
	return h
}

func (i *Inspector) overview() Overview {
	sockets, sampling := i.socketSamples.get()
	objects, _ := i.objectCounts.get()
	c, t := &i.counters, i.counters.totals()
	commit, late := histogramOf(&c.commit), histogramOf(&c.alarmLate)
	awake, hibernated := i.objects.on.counts()
	return Overview{
		Now: time.Now().UnixMilli(), Since: i.started.UnixMilli(),
		Sockets: SocketCounts{
			Open: int(i.sockets.count.Load()), Parked: sockets.parked, Slow: int(t.slow), Dialed: sockets.dialed, Opened: t.opened, Closed: t.closed,
		},
		Objects: ObjectCounts{
			Awake: awake, Hibernated: hibernated, Active: objects.active, Idle: objects.idle, Constructed: t.constructed, Slept: t.slept,
			Crashed: t.crashed, Handled: t.handled, Alarms: t.alarms, Commits: t.commits, CommitBytes: t.commitBytes, Failed: t.failed,
		},
		Namespaces: objects.namespaces, Messages: t.messages(), Rates: i.rates(), Latency: t.latency.quantiles(),
		Recent: i.recentLatency(&t.latency), RoundTrip: t.roundTrip.quantiles(), Commit: commit.quantiles(), AlarmLate: late.quantiles(),
		CloseCodes: i.codes.list(),
		Causes:     nameCounts(c.causes[:], func(k int) string { return edgews.CloseCause(k).String() }),
		Refusals:   nameCounts(c.refusals[:], func(k int) string { return edgews.RefusalCause(k).String() }),
		Clusters:   len(i.clusters()),
		LastLog:    i.log.lastSeq(), Sampling: sampling, Memory: i.memory(len(sockets.sockets)),
	}
}

// histogramOf returns the counts of h.
func histogramOf(h *atomicHistogram) (sum histogram) {
	h.addTo(&sum)
	return sum
}

// mapEntry is about what an entry of a map takes besides the record that it points to, in bytes.
const mapEntry = 32

// memory estimates what the inspector needs, with a sample of so many sockets.
func (i *Inspector) memory(sockets int) Memory {
	m := Memory{
		PerSocket: int64(reflect.TypeFor[socketRecord]().Size()) + mapEntry,
		PerObject: int64(reflect.TypeFor[objectFacts]().Size()) + mapEntry,
		Samples:   int64(sockets) * int64(reflect.TypeFor[sampledSocket]().Size()),
	}
	if s := i.objectSamples.fresh(); s != nil {
		m.Samples += int64(len(s.objects)) * int64(reflect.TypeFor[sampledObject]().Size())
	}
	awake, hibernated := i.objects.on.counts()
	m.Records = i.sockets.count.Load()*m.PerSocket + int64(awake+hibernated)*m.PerObject
	i.history.mu.Lock()
	defer i.history.mu.Unlock()
	for _, s := range i.history.series {
		m.History += int64(cap(s.points)) * int64(reflect.TypeFor[point]().Size())
	}
	return m
}
