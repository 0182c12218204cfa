package inspect

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// listSockets answers CallSockets.
func (i *Inspector) listSockets(q SocketsQuery) (SocketList, error) {
	q.Sort = cmp.Or(q.Sort, SocketSorts[0])
	if !slices.Contains(SocketSorts, q.Sort) {
		return SocketList{}, badRequest("sockets are not sorted by %q", q.Sort)
	}
	if q.State != "" && !slices.Contains(socketStates, q.State) {
		return SocketList{}, badRequest("no state of sockets is called %q", q.State)
	}
	s, sampling := i.socketSamples.get()
	limit, offset := rowLimit(q.Limit, defaultRows), q.Offset
	q.Limit, q.Offset = 0, 0
	order := s.orders.get(q, func() []int32 { return s.order(q) })
	part, offset := page(order, offset, limit)
	list := SocketList{Total: len(s.sockets), Selected: len(order), Offset: offset, Sockets: make([]SocketRow, 0, len(part)), Sampling: sampling}
	for _, k := range part {
		list.Sockets = append(list.Sockets, s.sockets[k].row())
	}
	return list, nil
}

// order returns the sockets that q selects.
func (s *socketSample) order(q SocketsQuery) []int32 {
	q.Search, q.Peer = strings.ToLower(q.Search), strings.ToLower(q.Peer)
	var compare func(a, b int) int
	if q.Sort != SocketSorts[0] {
		compare = func(a, b int) int { return compareSockets(q.Sort, &s.sockets[a], &s.sockets[b]) }
	}
	return selectRows(len(s.sockets), func(k int) bool { return s.sockets[k].isSelected(&q) }, compare, q.Desc)
}

// socketStates are the values of SocketsQuery.State.
var socketStates = []string{"slow", "parked", "busy", "dialed", "served", "closing"}

// isSelected reports whether q selects x. q.Search and q.Peer are in lower case.
func (x *sampledSocket) isSelected(q *SocketsQuery) bool {
	i := &x.info
	switch {
	case q.Namespace != "" && i.Namespace != q.Namespace,
		q.Path != "" && !strings.HasPrefix(i.Path, q.Path),
		q.Tag != "" && !slices.Contains(i.Tags, q.Tag),
		q.Peer != "" && !containsFold(q.Peer, x.remote),
		q.Object != "" && (i.Object == edgews.ID{} || i.Object.Name() != q.Object && i.Object.String() != q.Object),
		q.State != "" && !x.isIn(q.State):
		return false
	}
	return q.Search == "" || x.matches(q.Search)
}

// isIn reports whether x is in a state of SocketsQuery.State.
func (x *sampledSocket) isIn(state string) bool {
	switch state {
	case "slow":
		return x.record.slow.Load()
	case "parked":
		return x.info.Parked
	case "busy":
		return !x.info.Parked
	case "dialed":
		return x.info.Client
	case "served":
		return !x.info.Client
	}
	return x.info.State == edgews.Closing
}

// matches reports whether a text of x contains search, which is in lower case.
func (x *sampledSocket) matches(search string) bool {
	i := &x.info
	if containsFold(search, x.remote, i.Host, i.Path, i.Protocol, strconv.FormatUint(i.ID, 10)) || containsFold(search, i.Tags...) {
		return true
	}
	return i.Object != (edgews.ID{}) && containsFold(search, i.Object.Name(), i.Object.String())
}

// compareSockets compares by one of SocketSorts.
func compareSockets(by string, a, b *sampledSocket) int {
	switch by {
	case "queue":
		return cmp.Compare(a.info.Buffered, b.info.Buffered)
	case "rate":
		return cmp.Compare(a.rates.In+a.rates.Out, b.rates.In+b.rates.Out)
	case "byte_rate":
		return cmp.Compare(a.rates.BytesIn+a.rates.BytesOut, b.rates.BytesIn+b.rates.BytesOut)
	case "age":
		return cmp.Compare(b.record.opened, a.record.opened)
	case "round_trip":
		return cmp.Compare(a.counts.roundTrip, b.counts.roundTrip)
	case "latency":
		return cmp.Compare(a.counts.meanLatency(), b.counts.meanLatency())
	case "peer":
		return strings.Compare(a.remote, b.remote)
	case "path":
		return strings.Compare(a.info.Path, b.info.Path)
	case "object":
		return cmp.Or(strings.Compare(a.info.Namespace, b.info.Namespace), strings.Compare(a.info.Object.String(), b.info.Object.String()))
	case "messages":
		return cmp.Compare(a.counts.messagesIn+a.counts.messagesOut, b.counts.messagesIn+b.counts.messagesOut)
	case "bytes":
		return cmp.Compare(a.counts.bytesIn+a.counts.bytesOut, b.counts.bytesIn+b.counts.bytesOut)
	}
	return cmp.Compare(a.counts.dropped, b.counts.dropped)
}

// row describes the socket as it is now, with the rates of the sample.
func (x *sampledSocket) row() SocketRow {
	r := x.record
	info, c := r.socket.Info(), r.current()
	row := SocketRow{
		Socket: info.ID, Remote: escape(x.remote, maxName), Host: escape(info.Host, maxName), Path: escape(info.Path, maxName),
		Dialed: info.Client, State: strings.ToLower(info.State.String()), Protocol: escape(info.Protocol, maxName),
		Compressed: strings.Contains(info.Extensions, "permessage-deflate"), Opened: r.opened, Parked: info.Parked, Slow: r.slow.Load(),
		Queued: info.Buffered, In: c.messagesIn, Out: c.messagesOut, BytesIn: c.bytesIn, BytesOut: c.bytesOut, WireIn: c.wireIn, WireOut: c.wireOut,
		Dropped: c.dropped,
		RateIn:  x.rates.In, RateOut: x.rates.Out, ByteRateIn: x.rates.BytesIn, ByteRateOut: x.rates.BytesOut,
		RoundTrip: millis(c.roundTrip), Latency: millis(c.meanLatency()), LatencyMax: millis(c.latencyMax), LastMessage: c.lastMessage,
	}
	for _, tag := range info.Tags {
		row.Tags = append(row.Tags, escape(tag, maxName))
	}
	if info.Object != (edgews.ID{}) {
		row.Namespace, row.Object, row.Name = escape(info.Namespace, maxName), info.Object.String(), escape(info.Object.Name(), maxName)
	}
	return row
}

// row returns the row of a socket outside a list: the rates are those since it opened.
func (r *socketRecord) row() SocketRow {
	x := sampledSocket{record: r, remote: r.socket.RemoteAddr().String(), counts: r.current()}
	x.rates = x.counts.ratesSince(trafficCounts{}, time.Now().UnixMilli()-r.opened)
	return x.row()
}

// socketDetail answers CallSocket.
func (i *Inspector) socketDetail(q SocketQuery) (SocketDetail, error) {
	r := i.sockets.get(q.Socket)
	if r == nil {
		return SocketDetail{}, notFound("no open socket has the id %d", q.Socket)
	}
	d := SocketDetail{SocketRow: r.row(), Local: r.socket.LocalAddr().String(), Extensions: escape(r.socket.Extensions(), maxName)}
	if s, _ := i.socketSamples.get(); s != nil {
		at, found := slices.BinarySearchFunc(s.sockets, q.Socket, func(x sampledSocket, id uint64) int { return cmp.Compare(x.info.ID, id) })
		if found {
			d.SocketRow = s.sockets[at].row()
		}
	}
	d.Log = i.log.about(func(e *LogEntry) bool { return e.Socket == q.Socket })
	return d, nil
}
