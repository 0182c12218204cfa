package metrics

import (
	"slices"
	"strings"
	"time"
)

// Type is the type of a metric.
type Type uint8

const (
	Counter       Type = iota + 1 // a sum that only grows
	UpDownCounter                 // a sum that grows and shrinks: a gauge in Prometheus
	Gauge                         // a value that cannot be added up, such as an age
	Histogram                     // a distribution, in the buckets of Metric.Bounds
)

// String returns "counter", "up-down counter", "gauge" or "histogram".
func (t Type) String() string {
	return [...]string{"", "counter", "up-down counter", "gauge", "histogram"}[min(t, Histogram)]
}

// Metric describes a metric.
type Metric struct {
	Name   string // as Prometheus names it, with its unit and _total for a counter: edgews_messages_total
	OTel   string // as OpenTelemetry names it: websocket.messages
	Type   Type
	Unit   string   // in UCUM, as OpenTelemetry writes it: "s", "By", "{message}"
	Help   string   // one sentence, without a full stop
	Labels []string // names of the labels, in the order of Sample.Labels; as attributes in OpenTelemetry they begin with "edgews."

	// Bounds are the upper bounds of the buckets of a histogram, inclusive and ascending, in Unit. One more bucket has no bound.
	Bounds []float64
}

// Metrics returns every metric, in the order of [Recorder.Samples]. The caller may change the slice, not what its elements point to.
func Metrics() []Metric {
	all := make([]Metric, len(table))
	for i, m := range table {
		all[i] = *m
	}
	return all
}

// Labels of sockets, of objects and of tenants.
var (
	ofSockets = []string{"namespace", "class"}
	ofObjects = []string{"namespace"}
	ofTenants = []string{"tenant"}
)

func labels(first []string, more ...string) []string { return append(slices.Clip(first), more...) }

// The metrics of sockets.
var (
	socketsOpen = &Metric{
		Name: "edgews_sockets_open", OTel: "websocket.connection.count", Type: UpDownCounter, Unit: "{connection}", Labels: ofSockets,
		Help: "Sockets that are open now",
	}
	socketsOpened = &Metric{
		Name: "edgews_sockets_opened_total", OTel: "websocket.connection.opened", Type: Counter, Unit: "{connection}", Labels: ofSockets,
		Help: "Sockets that were opened and accepted",
	}
	socketsClosed = &Metric{
		Name: "edgews_sockets_closed_total", OTel: "websocket.connection.closed", Type: Counter, Unit: "{connection}",
		Labels: labels(ofSockets, "cause", "code"),
		Help:   "Sockets that have ended, by why they did and by the code of the close event, where 3xxx and 4xxx stand for a thousand codes each",
	}
	socketLifetime = &Metric{
		Name: "edgews_socket_lifetime_seconds", OTel: "websocket.connection.duration", Type: Histogram, Unit: "s", Labels: ofSockets,
		Bounds: seconds(lifetimeBounds[:]), Help: "How long sockets were open, of those that have ended",
	}
	socketsRefused = &Metric{
		Name: "edgews_upgrades_refused_total", OTel: "websocket.upgrade.refused", Type: Counter, Unit: "{request}", Labels: []string{"cause"},
		Help: "Upgrade requests that were refused, by why they were",
	}
	slowSockets = &Metric{
		Name: "edgews_slow_sockets", OTel: "websocket.connection.slow.count", Type: UpDownCounter, Unit: "{connection}", Labels: ofSockets,
		Help: "Sockets that are slow now: half of SendBuffer was waiting when a message was sent, and not everything has left since",
	}
	slowSocketBytes = &Metric{
		Name: "edgews_slow_socket_queued_bytes", OTel: "websocket.connection.slow.queued", Type: UpDownCounter, Unit: "By", Labels: ofSockets,
		Help: "Bytes that wait in the slow sockets",
	}
	slowSocketAge = &Metric{
		Name: "edgews_slow_socket_oldest_seconds", OTel: "websocket.connection.slow.age", Type: Gauge, Unit: "s", Labels: ofSockets,
		Help: "For how long the socket has been slow that has been so for longest; 0 if none is",
	}
	slowdowns = &Metric{
		Name: "edgews_socket_slowdowns_total", OTel: "websocket.connection.slowdowns", Type: Counter, Unit: "{slowdown}", Labels: ofSockets,
		Help: "How often a socket has become slow",
	}
	pingRoundTrip = &Metric{
		Name: "edgews_ping_round_trip_seconds", OTel: "websocket.ping.duration", Type: Histogram, Unit: "s", Labels: ofSockets,
		Bounds: seconds(latencyBounds[:]), Help: "Time from a ping to its pong",
	}
)

// The metrics of messages.
var (
	messages = &Metric{
		Name: "edgews_messages_total", OTel: "websocket.messages", Type: Counter, Unit: "{message}", Labels: labels(ofSockets, "direction", "kind"),
		Help: "Data messages that were received and sent, auto-responses included and dropped ones not",
	}
	messageSize = &Metric{
		Name: "edgews_message_size_bytes", OTel: "websocket.message.size", Type: Histogram, Unit: "By", Labels: labels(ofSockets, "direction"),
		Bounds: floats(sizeBounds[:]), Help: "Payload of these messages, uncompressed",
	}
	wireBytes = &Metric{
		Name: "edgews_message_wire_bytes_total", OTel: "websocket.message.io", Type: Counter, Unit: "By", Labels: labels(ofSockets, "direction"),
		Help: "Size of the frames of these messages, with headers and as compressed",
	}
	handlerTime = &Metric{
		Name: "edgews_message_handler_seconds", OTel: "websocket.message.handler.duration", Type: Histogram, Unit: "s", Labels: ofSockets,
		Bounds: seconds(latencyBounds[:]), Help: "How long handlers took for a received message",
	}
	autoResponses = &Metric{
		Name: "edgews_auto_responses_total", OTel: "websocket.message.auto_responses", Type: Counter, Unit: "{message}", Labels: ofSockets,
		Help: "Received messages that an auto-response has answered, without a handler",
	}
	messagesDropped = &Metric{
		Name: "edgews_messages_dropped_total", OTel: "websocket.message.dropped", Type: Counter, Unit: "{message}", Labels: ofSockets,
		Help: "Messages that were not sent because the reader was slow: dropped by Overflow, or replaced by SendLatest",
	}
)

// The metrics of objects.
var (
	objects = &Metric{
		Name: "edgews_objects", OTel: "edgews.object.count", Type: UpDownCounter, Unit: "{object}", Labels: labels(ofObjects, "state"),
		Help: "Objects in memory: active ones are kept awake, idle ones are about to hibernate, hibernated ones have sockets only",
	}
	objectSockets = &Metric{
		Name: "edgews_object_sockets", OTel: "edgews.object.socket.count", Type: UpDownCounter, Unit: "{connection}", Labels: labels(ofObjects, "state"),
		Help: "Sockets that objects have accepted with AcceptWebSocket, by the state of the object",
	}
	objectsPinned = &Metric{
		Name: "edgews_objects_pinned", OTel: "edgews.object.pinned.count", Type: UpDownCounter, Unit: "{object}", Labels: labels(ofObjects, "pin"),
		Help: "Active objects by what keeps them awake; an object counts for each thing that does",
	}
	objectPinAge = &Metric{
		Name: "edgews_object_pinned_oldest_seconds", OTel: "edgews.object.pinned.age", Type: Gauge, Unit: "s", Labels: labels(ofObjects, "pin"),
		Help: "For how long the object has been active that has been so for longest, among those that this keeps awake now",
	}
	objectEvents = &Metric{
		Name: "edgews_object_events_total", OTel: "edgews.object.events", Type: Counter, Unit: "{event}",
		Labels: labels(ofObjects, "event", "trigger"),
		Help:   "Events of objects, by what caused them: a construction is a wake-up, a crash a loss of the value",
	}
	objectFailures = &Metric{
		Name: "edgews_object_failures_total", OTel: "edgews.object.failures", Type: Counter, Unit: "{event}", Labels: labels(ofObjects, "event"),
		Help: "Those of these events that had an error, and crashes",
	}
	objectEventTime = &Metric{
		Name: "edgews_object_event_seconds", OTel: "edgews.object.event.duration", Type: Histogram, Unit: "s", Labels: labels(ofObjects, "event"),
		Bounds: seconds(latencyBounds[:]), Help: "How long constructors, handlers, alarms and commits took",
	}
	objectAwakeTime = &Metric{
		Name: "edgews_object_awake_seconds", OTel: "edgews.object.awake.duration", Type: Histogram, Unit: "s", Labels: ofObjects,
		Bounds: seconds(lifetimeBounds[:]), Help: "How long the values of objects were in memory, of those that have hibernated",
	}
	alarmLateness = &Metric{
		Name: "edgews_alarm_late_seconds", OTel: "edgews.object.alarm.late", Type: Histogram, Unit: "s", Labels: ofObjects,
		Bounds: seconds(latenessBounds[:]), Help: "How long after their time alarms have fired",
	}
	committedKeys = &Metric{
		Name: "edgews_commit_keys_total", OTel: "edgews.storage.commit.keys", Type: Counter, Unit: "{key}", Labels: ofObjects,
		Help: "Values that commits have written and deleted",
	}
	committedBytes = &Metric{
		Name: "edgews_commit_bytes_total", OTel: "edgews.storage.commit.io", Type: Counter, Unit: "By", Labels: ofObjects,
		Help: "Size of the keys and values that commits have written",
	}
)

// The metrics of the meter.
var (
	usedConnections = &Metric{
		Name: "edgews_usage_connections_total", OTel: "edgews.usage.connections", Type: Counter, Unit: "{connection}",
		Help: "Usage.Connections of the meter",
	}
	usedRequests = &Metric{
		Name: "edgews_usage_http_requests_total", OTel: "edgews.usage.http_requests", Type: Counter, Unit: "{request}",
		Help: "Usage.HTTPRequests of the meter: requests to objects that did not become a socket",
	}
	usedMessages = &Metric{
		Name: "edgews_usage_messages_total", OTel: "edgews.usage.messages", Type: Counter, Unit: "{message}", Labels: []string{"direction"},
		Help: "Usage.MessagesIn and MessagesOut of the meter",
	}
	usedBytes = &Metric{
		Name: "edgews_usage_bytes_total", OTel: "edgews.usage.io", Type: Counter, Unit: "By", Labels: []string{"direction"},
		Help: "Usage.BytesIn and BytesOut of the meter",
	}
	usedTime = &Metric{
		Name: "edgews_usage_seconds_total", OTel: "edgews.usage.time", Type: Counter, Unit: "s", Labels: []string{"span"},
		Help: "Time by what it is counted for: active objects, busy handlers, connected sockets; each summed over all of them",
	}
	usedRows = &Metric{
		Name: "edgews_usage_rows_total", OTel: "edgews.usage.rows", Type: Counter, Unit: "{row}", Labels: []string{"operation"},
		Help: "Usage.RowsRead and RowsWritten of the meter",
	}
	usedStorage = &Metric{
		Name: "edgews_usage_stored_byte_seconds_total", OTel: "edgews.usage.stored", Type: Counter, Unit: "By.s",
		Help: "Bytes that objects store, times the seconds for which they do",
	}
	cost = &Metric{
		Name: "edgews_cost_dollars_total", OTel: "edgews.cost.usage", Type: Counter, Unit: "{USD}", Labels: []string{"plan"},
		Help: "Price of the usage by a plan's unit prices, without its base fee and included amounts",
	}
	costHibernating = &Metric{
		Name: "edgews_cost_hibernating_dollars_total", OTel: "edgews.cost.hibernating", Type: Counter, Unit: "{USD}", Labels: []string{"plan"},
		Help: "What that price would be, at most, if objects were active only while a handler runs",
	}
	bill = &Metric{
		Name: "edgews_bill_dollars", OTel: "edgews.bill", Type: Gauge, Unit: "{USD}", Labels: []string{"plan"},
		Help: "What a plan bills for the usage of this process, as one period, with its base fee and included amounts",
	}
	tenantCost = &Metric{
		Name: "edgews_tenant_cost_dollars_total", OTel: "edgews.tenant.cost", Type: Counter, Unit: "{USD}", Labels: labels(ofTenants, "plan"),
		Help: "Price of a tenant's usage by a plan's unit prices",
	}
	tenantMessages = &Metric{
		Name: "edgews_tenant_messages_total", OTel: "edgews.tenant.messages", Type: Counter, Unit: "{message}", Labels: labels(ofTenants, "direction"),
		Help: "Usage.MessagesIn and MessagesOut of a tenant",
	}
	tenantTime = &Metric{
		Name: "edgews_tenant_seconds_total", OTel: "edgews.tenant.time", Type: Counter, Unit: "s", Labels: labels(ofTenants, "span"),
		Help: "Time of a tenant's objects, handlers and sockets, as edgews_usage_seconds_total has it for all",
	}
)

// table has every metric, in the order of Recorder.Samples.
var table = append([]*Metric{
	socketsOpen, socketsOpened, socketsClosed, socketLifetime, socketsRefused, slowSockets, slowSocketBytes, slowSocketAge, slowdowns, pingRoundTrip,
	messages, messageSize, wireBytes, handlerTime, autoResponses, messagesDropped,
	objects, objectSockets, objectsPinned, objectPinAge, objectEvents, objectFailures, objectEventTime, objectAwakeTime, alarmLateness,
	committedKeys, committedBytes,
	usedConnections, usedRequests, usedMessages, usedBytes, usedTime, usedRows, usedStorage, cost, costHibernating, bill,
	tenantCost, tenantMessages, tenantTime,
}, clusterTable...)

// seconds returns durations in seconds.
func seconds(bounds []time.Duration) []float64 {
	all := make([]float64, len(bounds))
	for i, b := range bounds {
		all[i] = b.Seconds()
	}
	return all
}

func floats(bounds []int64) []float64 {
	all := make([]float64, len(bounds))
	for i, b := range bounds {
		all[i] = float64(b)
	}
	return all
}

// String returns the name, the type, the unit in parentheses and the labels in braces.
func (m Metric) String() string {
	return m.Name + " " + m.Type.String() + " (" + m.Unit + ") {" + strings.Join(m.Labels, ",") + "}"
}
