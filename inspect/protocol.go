package inspect

import (
	"encoding/json"

	"github.com/edgews/edgews"
)

// This file is the protocol between the page, or the command "edgews inspect", and the handler: JSON messages over the WebSocket at "socket",
// relative to where the handler is mounted. Requests and replies are those of edgews.HandleCall: a request has the type of its call, an id, and
// the fields of the call's request type. So edgews.Request and client/js's calls make them.
//
// In all of them times are Unix times in milliseconds, 0 for none; durations are milliseconds; sizes are bytes; rates are per second. Fields
// that are empty may be missing. Text that a peer may have chosen has its control characters escaped, and is cut at some length. Fields and
// calls may be added; what is here stays.

// ProtocolVersion is Hello.Version.
const ProtocolVersion = 1

// The calls, and in arrows their requests and results. Those without a request have no fields.
const (
	CallHello    = "hello"    // → Hello
	CallOverview = "overview" // → Overview
	CallHistory  = "history"  // HistoryQuery → History
	CallSockets  = "sockets"  // SocketsQuery → SocketList
	CallSocket   = "socket"   // SocketQuery → SocketDetail
	CallObjects  = "objects"  // ObjectsQuery → ObjectList
	CallObject   = "object"   // ObjectQuery → ObjectDetail
	CallStorage  = "storage"  // StorageQuery → StorageList
	CallValue    = "value"    // ValueQuery → Value
	CallAlarms   = "alarms"   // AlarmsQuery → AlarmList
	CallBill     = "bill"     // BillQuery → BillReport
	CallLog      = "log"      // LogQuery → LogList
	CallWatch    = "watch"    // WatchRequest → Done; then updates, see Update
	CallUnwatch  = "unwatch"  // UnwatchRequest → Done
)

// The actions. Without Options.AllowActions they fail with CodeForbidden. Each is logged.
const (
	CallClose     = "close"     // CloseRequest → Done
	CallSend      = "send"      // SendRequest → Done
	CallHibernate = "hibernate" // ObjectQuery → Done
	CallRunAlarm  = "run_alarm" // ObjectQuery → Done
)

// TypeUpdate is the type of an Update, which the server sends by itself.
const TypeUpdate = "update"

// The codes of errors, besides those of package edgews.
const (
	CodeNotFound  = "not_found" // there is no such socket, object, key or plan, or not any more
	CodeForbidden = "forbidden" // the action is not allowed
	CodeFailed    = "failed"    // the action, or reading the storage, was tried and has failed; the message says why
)

// Done is the result of calls that have none.
type Done struct{}

// Hello describes the process and the inspector.
type Hello struct {
	Version    int      `json:"version"` // ProtocolVersion
	Now        int64    `json:"now"`
	Started    int64    `json:"started"` // when New was called
	Program    string   `json:"program"` // the name of the executable
	PID        int      `json:"pid"`
	Host       string   `json:"host"` // the machine's name
	Go         string   `json:"go"`   // such as "go1.26.1 linux/amd64"
	Actions    bool     `json:"actions"`
	Redact     bool     `json:"redact"`     // Options.Redact is set
	Meter      bool     `json:"meter"`      // there is one: CallBill works
	Namespaces []string `json:"namespaces"` // sorted
	Plans      []string `json:"plans"`      // names for BillQuery.Plan and ObjectQuery.Plan, the first is the default
	MaxRows    int      `json:"max_rows"`   // of one reply
	MinEvery   float64  `json:"min_every"`  // the least WatchRequest.Every
	MaxWatches int      `json:"max_watches"`
}

// Overview is all sums. Those of messages, closes, refusals, objects' events and latencies are since Since.
type Overview struct {
	Now        int64            `json:"now"`
	Since      int64            `json:"since"`
	Sockets    SocketCounts     `json:"sockets"`
	Objects    ObjectCounts     `json:"objects"`
	Namespaces []NamespaceCount `json:"namespaces"`
	Messages   MessageCounts    `json:"messages"`
	Rates      MessageRates     `json:"rates"`              // over the last second or so
	Latency    Quantiles        `json:"latency"`            // of handlers of received messages
	Recent     Quantiles        `json:"recent"`             // the same, of the last minute
	RoundTrip  Quantiles        `json:"round_trip"`         // of pings
	Commit     Quantiles        `json:"commit"`             // durations of commits
	AlarmLate  Quantiles        `json:"alarm_late"`         // how late alarms have fired
	CloseCodes []CodeCount      `json:"close_codes"`        // the most frequent first
	Causes     []NameCount      `json:"causes"`             // why sockets ended, of edgews.CloseCause; the most frequent first
	Refusals   []NameCount      `json:"refusals"`           // of edgews.RefusalCause; the most frequent first
	Clusters   int              `json:"clusters,omitempty"` // of the namespaces: CallCluster tells of them
	LastLog    uint64           `json:"last_log"`           // LogEntry.Seq of the last entry, 0 if there is none
	Sampling   Sampling         `json:"sampling"`
	Memory     Memory           `json:"memory"`
}

// Sampling says how fresh what comes from samples is: parked, active and idle counts, rates of sockets, and the order and the selection of
// lists.
type Sampling struct {
	At    int64   `json:"at"`
	Took  float64 `json:"took"`
	Every float64 `json:"every"` // no new sample before this time after the last one
}

// Memory is what the inspector needs itself, estimated.
type Memory struct {
	PerSocket int64 `json:"per_socket"`
	PerObject int64 `json:"per_object"`
	Records   int64 `json:"records"` // of all open sockets and objects
	Samples   int64 `json:"samples"`
	History   int64 `json:"history"`
}

// SocketCounts counts sockets. Opened and Closed are sums, the others are numbers at the moment.
type SocketCounts struct {
	Open   int   `json:"open"`
	Parked int   `json:"parked"` // sampled
	Slow   int   `json:"slow"`   // SocketSlow, and not SocketDrained since
	Dialed int   `json:"dialed"` // of Open: the client's end; sampled
	Opened int64 `json:"opened"`
	Closed int64 `json:"closed"`
}

// ObjectCounts counts objects. Awake to Idle are numbers at the moment, the others are sums of events.
type ObjectCounts struct {
	Awake       int   `json:"awake"`      // have a value in memory
	Hibernated  int   `json:"hibernated"` // have open sockets and no value in memory
	Active      int   `json:"active"`     // something keeps them awake, which is billed; sampled
	Idle        int   `json:"idle"`       // awake, will hibernate; sampled
	Constructed int64 `json:"constructed"`
	Slept       int64 `json:"slept"` // has hibernated
	Crashed     int64 `json:"crashed"`
	Handled     int64 `json:"handled"`
	Alarms      int64 `json:"alarms"`
	Commits     int64 `json:"commits"`
	CommitBytes int64 `json:"commit_bytes"`
	Failed      int64 `json:"failed"` // constructors, handlers, alarms and commits with an error
}

// NamespaceCount is one namespace; sampled.
type NamespaceCount struct {
	Name       string `json:"name"`
	Active     int    `json:"active"`
	Idle       int    `json:"idle"`
	Hibernated int    `json:"hibernated"`
}

// MessageCounts are sums. Bytes are payload, Wire is what the frames take on the wire.
type MessageCounts struct {
	In       int64 `json:"in"`
	Out      int64 `json:"out"`
	BytesIn  int64 `json:"bytes_in"`
	BytesOut int64 `json:"bytes_out"`
	WireIn   int64 `json:"wire_in"`
	WireOut  int64 `json:"wire_out"`
	Dropped  int64 `json:"dropped"` // not sent, because the peer was too slow
	Auto     int64 `json:"auto"`    // of In: answered by an auto-response
}

// MessageRates are per second.
type MessageRates struct {
	In       float64 `json:"in"`
	Out      float64 `json:"out"`
	BytesIn  float64 `json:"bytes_in"`
	BytesOut float64 `json:"bytes_out"`
}

// Quantiles are of a histogram whose buckets are a quarter of a power of two wide: a quantile is right within 13 %. All but Count are 0 if Count is.
type Quantiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"` // of the bucket
}

// CodeCount counts the close events of one code.
type CodeCount struct {
	Code  int    `json:"code"`
	Name  string `json:"name"` // such as "1001 going away"
	Count int64  `json:"count"`
}

// NameCount counts something that has a name.
type NameCount struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// HistoryQuery asks for a history.
type HistoryQuery struct {
	Step  float64 `json:"step"`            // 1000 (10 minutes), 10000 (1 hour) or 60000 (12 hours); 0: 1000
	After int64   `json:"after,omitempty"` // only points after this time; a watch moves it on by itself
}

// History is columns of equal length, oldest first.
type History struct {
	Step   float64               `json:"step"`
	Times  []int64               `json:"times"`  // ends of the steps
	Series map[string][]*float64 `json:"series"` // null: not known, such as parked while no page was open, or a quantile of nothing
}

// SeriesNames are the series of a History. Rates are per second over the step; those of latencies of handlers and of round trips of pings are quantiles over
// the step; the others are numbers at its end.
var SeriesNames = []string{
	"open", "parked", "slow", "awake", "active", "hibernated", // parked and active are sampled
	"in", "out", "bytes_in", "bytes_out", "wire_in", "wire_out", "dropped", // rates
	"opened", "closed", "refused", "crashed", "alarms", "commits", // rates
	"latency_p50", "latency_p99", "round_trip_p50", "round_trip_p99",
}

// SocketsQuery asks for a page of sockets. Those that satisfy every field that is set are selected.
type SocketsQuery struct {
	Search    string `json:"search,omitempty"`    // part of the id, peer, host, path, tags, object's name or ID, or subprotocol, without regard to case
	Peer      string `json:"peer,omitempty"`      // part of Remote
	Path      string `json:"path,omitempty"`      // begins with it
	Tag       string `json:"tag,omitempty"`       // carries it
	Namespace string `json:"namespace,omitempty"` // equals
	Object    string `json:"object,omitempty"`    // the ID or the name equals
	State     string `json:"state,omitempty"`     // "slow", "parked", "busy" (not parked), "dialed", "served", "closing"
	Sort      string `json:"sort,omitempty"`      // one of SocketSorts; default "socket"
	Desc      bool   `json:"desc,omitempty"`
	Offset    int    `json:"offset,omitempty"`
	Limit     int    `json:"limit,omitempty"` // 0: 100; at most Hello.MaxRows
}

// SocketSorts are the values of SocketsQuery.Sort. Rates are messages, or bytes, in and out together. Equals are in order of their id.
var SocketSorts = []string{"socket", "queue", "rate", "byte_rate", "age", "round_trip", "latency", "peer", "path", "object", "messages", "bytes", "dropped"}

// SocketList is a page of sockets.
type SocketList struct {
	Total    int         `json:"total"`    // all open sockets
	Selected int         `json:"selected"` // that satisfy the query
	Offset   int         `json:"offset"`   // of the first of Sockets among Selected
	Sockets  []SocketRow `json:"sockets"`
	Sampling Sampling    `json:"sampling"`
}

// SocketRow is a socket. Rates are between the last two samples.
type SocketRow struct {
	Socket      uint64   `json:"socket"` // its id, of edgews.Socket.ID
	Remote      string   `json:"remote"`
	Host        string   `json:"host"`
	Path        string   `json:"path"`
	Dialed      bool     `json:"dialed,omitempty"` // this process is the client
	State       string   `json:"state"`            // "connecting", "open", "closing" or "closed"
	Protocol    string   `json:"protocol,omitempty"`
	Compressed  bool     `json:"compressed,omitempty"` // permessage-deflate was negotiated
	Opened      int64    `json:"opened"`
	Namespace   string   `json:"namespace,omitempty"`
	Object      string   `json:"object,omitempty"` // 64 hexadecimal digits
	Name        string   `json:"name,omitempty"`   // of the object
	Tags        []string `json:"tags,omitempty"`
	Parked      bool     `json:"parked"`
	Slow        bool     `json:"slow,omitempty"`
	Queued      int      `json:"queued"`
	In          int64    `json:"in"`
	Out         int64    `json:"out"`
	BytesIn     int64    `json:"bytes_in"`
	BytesOut    int64    `json:"bytes_out"`
	WireIn      int64    `json:"wire_in"`
	WireOut     int64    `json:"wire_out"`
	Dropped     int64    `json:"dropped,omitempty"`
	RateIn      float64  `json:"rate_in"`
	RateOut     float64  `json:"rate_out"`
	ByteRateIn  float64  `json:"byte_rate_in"`
	ByteRateOut float64  `json:"byte_rate_out"`
	RoundTrip   float64  `json:"round_trip,omitempty"` // of the last answered ping; 0: none
	Latency     float64  `json:"latency,omitempty"`    // mean, of the handler of received messages
	LatencyMax  float64  `json:"latency_max,omitempty"`
	LastMessage int64    `json:"last_message,omitempty"` // when the last one was received or sent, to about a second
}

// SocketQuery asks for one socket.
type SocketQuery struct {
	Socket uint64 `json:"socket"`
}

// SocketDetail is one socket. A socket that has ended is CodeNotFound.
type SocketDetail struct {
	SocketRow
	Local      string     `json:"local,omitempty"`
	Extensions string     `json:"extensions,omitempty"`
	Log        []LogEntry `json:"log"` // the entries about it, the newest first, 20 at most
}

// ObjectsQuery asks for a page of the objects in memory. Those that satisfy every field that is set are selected.
type ObjectsQuery struct {
	Search    string `json:"search,omitempty"`    // the beginning of the ID, or part of the name, without regard to case
	Namespace string `json:"namespace,omitempty"` // equals
	State     string `json:"state,omitempty"`     // "active", "idle", "hibernated"; "awake": one of the first two
	Pin       string `json:"pin,omitempty"`       // one of edgews.ObjectInfo.Pins
	Sort      string `json:"sort,omitempty"`      // one of ObjectSorts; default "since": the longest in its state first, active ones first
	Desc      bool   `json:"desc,omitempty"`
	Offset    int    `json:"offset,omitempty"`
	Limit     int    `json:"limit,omitempty"` // 0: 100; at most Hello.MaxRows
	Plan      string `json:"plan,omitempty"`  // for the costs; default: the first
}

// ObjectSorts are the values of ObjectsQuery.Sort. "awake" is the time of construction. Equals are in order of their ID.
var ObjectSorts = []string{"since", "awake", "name", "object", "sockets", "handled", "busy", "crashes", "cost"}

// ObjectList is a page of objects.
type ObjectList struct {
	Total    int         `json:"total"`
	Selected int         `json:"selected"`
	Offset   int         `json:"offset"`
	Objects  []ObjectRow `json:"objects"`
	Sampling Sampling    `json:"sampling"`
}

// ObjectRow is an object in memory. Constructed to Busy count since its value was constructed, or since it got its first socket.
type ObjectRow struct {
	Namespace   string   `json:"namespace"`
	Object      string   `json:"object"` // 64 hexadecimal digits
	Name        string   `json:"name,omitempty"`
	State       string   `json:"state"` // "active", "idle", "hibernated"
	Since       int64    `json:"since"` // in State
	Sockets     int      `json:"sockets"`
	Pins        []string `json:"pins,omitempty"`         // what keeps it awake, of edgews.ObjectInfo.Pins
	Why         []string `json:"why,omitempty"`          // the same with details, of edgews.Reason.String
	PinnedUntil int64    `json:"pinned_until,omitempty"` // when NamespaceOptions.PinTimeout evicts it
	WokenBy     string   `json:"woken_by,omitempty"`     // edgews.Trigger of the last construction
	Constructed int64    `json:"constructed,omitempty"`  // when
	Handled     int64    `json:"handled"`                // handlers that have returned
	Busy        float64  `json:"busy"`                   // the time that they took
	Crashes     int64    `json:"crashes,omitempty"`
	Alarms      int64    `json:"alarms,omitempty"`
	Commits     int64    `json:"commits,omitempty"`
	Cost        string   `json:"cost,omitempty"`        // dollars, such as "0.000412", of edgews.Explanation.Cost; empty without a meter
	Hibernating string   `json:"hibernating,omitempty"` // what Cost would be if the object were active only while a handler runs
}

// ObjectQuery names an object. Name is an alternative to Object.
type ObjectQuery struct {
	Namespace string `json:"namespace"`
	Object    string `json:"object,omitempty"` // 64 hexadecimal digits
	Name      string `json:"name,omitempty"`
	Plan      string `json:"plan,omitempty"` // of CallObject
}

// ObjectDetail is one object. One that is not in memory has the State "absent", and its storage can be read all the same.
type ObjectDetail struct {
	ObjectRow
	Reasons     []Reason     `json:"reasons"`               // what keeps it awake, the oldest first
	Alarm       int64        `json:"alarm,omitempty"`       // when its alarm is due; of an absent object only if it is one of the next 1000 of its namespace
	AlarmError  string       `json:"alarm_error,omitempty"` // why Alarm is not known
	Bill        *edgews.Bill `json:"bill,omitempty"`        // of what it has used since it came into memory, without base fee and included amounts
	Usage       []UsageItem  `json:"usage,omitempty"`
	Connections []SocketRow  `json:"connections"` // its sockets, oldest first, 100 at most; ObjectRow.Sockets counts all
	Log         []LogEntry   `json:"log"`         // the entries about it, the newest first, 20 at most
}

// Reason is one thing that keeps an object awake.
type Reason struct {
	Pin    string `json:"pin"`
	Since  int64  `json:"since,omitempty"`
	By     string `json:"by,omitempty"`
	Socket uint64 `json:"socket,omitempty"` // its id
}

// UsageItem is a field of edgews.Usage that is not 0: a number, or milliseconds.
type UsageItem struct {
	Name  string  `json:"name"` // such as "MessagesIn"
	Value float64 `json:"value"`
}

// StorageQuery asks for a page of an object's stored keys and values, in key order. The object is not woken.
type StorageQuery struct {
	ObjectQuery
	Prefix  string `json:"prefix,omitempty"`
	After   string `json:"after,omitempty"`  // a StorageEntry.Cursor: only keys behind it
	Before  string `json:"before,omitempty"` // a StorageEntry.Cursor: only keys before it
	Reverse bool   `json:"reverse,omitempty"`
	Limit   int    `json:"limit,omitempty"` // 0: 50; at most Hello.MaxRows
}

// StorageList is a page of entries.
type StorageList struct {
	Entries []StorageEntry `json:"entries"`
	More    bool           `json:"more"` // there are more in that direction
}

// StorageEntry is a stored value, its text cut at 512 bytes.
type StorageEntry struct {
	Key    string `json:"key"`    // control characters and bytes that are not UTF-8 are escaped as in Go
	Cursor string `json:"cursor"` // names the key in other queries
	Value
}

// ValueQuery asks for a part of one value.
type ValueQuery struct {
	ObjectQuery
	Cursor string `json:"cursor"`
	As     string `json:"as,omitempty"`     // "text", "json" or "hex"; default: what it is
	Offset int    `json:"offset,omitempty"` // in bytes of the value; only with "text" and "hex"
}

// Value is a stored value, or a part of it: 64 KiB at most.
type Value struct {
	Size     int    `json:"size"` // of the whole stored value
	As       string `json:"as"`   // "text", "json" (as it is stored) or "hex" (of the bytes, without spaces)
	Text     string `json:"text"`
	Cut      bool   `json:"cut,omitempty"`      // there is more of it
	Next     int    `json:"next,omitempty"`     // the Offset of the next part, if Cut
	Redacted bool   `json:"redacted,omitempty"` // Options.Redact has changed it
}

// AlarmsQuery asks for the alarms that are set, the next first.
type AlarmsQuery struct {
	Namespace string `json:"namespace,omitempty"` // empty: all
	Until     int64  `json:"until,omitempty"`     // 0: however late
	Limit     int    `json:"limit,omitempty"`     // 0: 100; at most Hello.MaxRows
}

// AlarmList is alarms in order of time.
type AlarmList struct {
	Alarms []AlarmRow `json:"alarms"`
	More   bool       `json:"more"`
}

// AlarmRow is an alarm.
type AlarmRow struct {
	Namespace string `json:"namespace"`
	Object    string `json:"object"`
	Name      string `json:"name,omitempty"`
	At        int64  `json:"at"`
}

// BillQuery asks for the running bill.
type BillQuery struct {
	Plan   string `json:"plan,omitempty"`   // for Tenants and Lines; default: the first
	Search string `json:"search,omitempty"` // part of a tenant's name
	Offset int    `json:"offset,omitempty"` // into Tenants
	Limit  int    `json:"limit,omitempty"`  // of Tenants; 0: 100; at most Hello.MaxRows
}

// BillReport is what the meter's usage since the process began costs.
type BillReport struct {
	Plans    []PlanCost   `json:"plans"`
	Bill     edgews.Bill  `json:"bill"` // by BillQuery.Plan
	Usage    []UsageItem  `json:"usage"`
	Tenants  []TenantCost `json:"tenants"` // the most expensive first
	Total    int          `json:"total"`   // number of tenants
	Selected int          `json:"selected"`
}

// PlanCost is the bill by one plan. AlwaysOn is what it would be if objects did not hibernate: if each were active as long as it has an open socket.
type PlanCost struct {
	Plan          string `json:"plan"`
	Cost          string `json:"cost"` // dollars, with the base fee and the included amounts
	AlwaysOn      string `json:"always_on"`
	Saved         string `json:"saved"`           // AlwaysOn less Cost
	SavedAtPrices string `json:"saved_at_prices"` // the same at the plan's prices, without its base fee and included amounts
}

// TenantCost is the usage of one tenant, at the prices of the plan: without its base fee and included amounts.
type TenantCost struct {
	Tenant      string  `json:"tenant"`
	Cost        string  `json:"cost"`
	AlwaysOn    string  `json:"always_on"` // as PlanCost.AlwaysOn; for the objects of namespaces whose Tenant names the tenant
	Saved       string  `json:"saved"`     // AlwaysOn less Cost
	Connections int64   `json:"connections"`
	Messages    int64   `json:"messages"` // in and out
	Active      float64 `json:"active"`
}

// LogQuery asks for entries of the log.
type LogQuery struct {
	After  uint64   `json:"after,omitempty"`  // only entries with a greater Seq; a watch moves it on by itself
	Kinds  []string `json:"kinds,omitempty"`  // only these, of LogKinds; none: all
	Search string   `json:"search,omitempty"` // part of the text, peer, path or object, without regard to case
	Limit  int      `json:"limit,omitempty"`  // 0: 100; at most Hello.MaxRows
}

// LogKinds are the values of LogEntry.Kind.
var LogKinds = []string{"protocol", "failure", "refusal", "crash", "error", "slow", "action"}

// LogList is entries of the log, the newest first.
type LogList struct {
	Entries []LogEntry `json:"entries"`
	Last    uint64     `json:"last"`    // Seq of the last entry of the whole log
	Dropped uint64     `json:"dropped"` // how many have been dropped because the log is bounded
}

// LogEntry is something that went wrong, or that an operator has done. protocol: a peer broke the protocol or a limit; failure: a connection
// failed otherwise; refusal: an upgrade was refused; crash: an object was reset; error: a constructor, handler, alarm or commit has
// failed; slow: a socket's queue has filled up; action: one of this inspector.
type LogEntry struct {
	Seq       uint64 `json:"seq"` // from 1
	At        int64  `json:"at"`
	Kind      string `json:"kind"`
	Text      string `json:"text"`
	Count     int    `json:"count"` // how many times the same has happened in a row; At is of the last
	Socket    uint64 `json:"socket,omitempty"`
	Remote    string `json:"remote,omitempty"`
	Path      string `json:"path,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Object    string `json:"object,omitempty"`
	Name      string `json:"name,omitempty"` // of the object
}

// WatchRequest has a call repeated. The first Update follows at once. A second watch of the same name replaces the first; watches end with the
// connection.
type WatchRequest struct {
	Watch  string          `json:"watch"`            // a name that the client chooses, 64 bytes at most
	Call   string          `json:"call"`             // one that is no action, no watch and no unwatch
	Params json.RawMessage `json:"params,omitempty"` // the fields of the call
	Every  float64         `json:"every"`            // 0: 1000; at least Hello.MinEvery
}

// UnwatchRequest ends a watch, if there is one of that name. An update may still be under way.
type UnwatchRequest struct {
	Watch string `json:"watch"`
}

// Update is a message that the server sends for a watch: it has a result or an error. In the updates of CallHistory and CallLog there is
// only what is new; one without anything new is left out.
type Update struct {
	Type   string            `json:"type"` // TypeUpdate
	Watch  string            `json:"watch"`
	Result json.RawMessage   `json:"result,omitempty"`
	Error  *edgews.CallError `json:"error,omitempty"`
}

// CloseRequest closes a socket.
type CloseRequest struct {
	Socket uint64 `json:"socket"`
	Code   int    `json:"code,omitempty"` // 0: 1001
	Reason string `json:"reason,omitempty"`
}

// SendRequest sends a message to a socket's peer: Text, or the bytes of Base64.
type SendRequest struct {
	Socket uint64 `json:"socket"`
	Text   string `json:"text,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
}
