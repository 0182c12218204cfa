package edgews_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/edgews/edgews"
)

// This file uses the names and signatures of the public API that must not change. It tests them by compiling.

type socket = *edgews.Socket

var (
	_ func() (client, server socket)                        = edgews.NewPair
	_ func(edgews.Message) string                           = edgews.Message.Text
	_ func(edgews.Message) edgews.Message                   = edgews.Message.Clone
	_ func(edgews.Kind, []byte) *edgews.Prepared            = edgews.Prepare
	_ func(edgews.ReadyState) string                        = edgews.ReadyState.String
	_ func(edgews.StatusCode) string                        = edgews.StatusCode.String
	_ func(socket) error                                    = socket.Accept
	_ func(socket) error                                    = socket.AcceptHalfOpen
	_ func(socket, string) error                            = socket.Send
	_ func(socket, []byte) error                            = socket.SendBytes
	_ func(socket, *edgews.Prepared) error                  = socket.SendPrepared
	_ func(socket, edgews.StatusCode, string) error         = socket.Close
	_ func(socket) edgews.ReadyState                        = socket.ReadyState
	_ func(socket) string                                   = socket.URL
	_ func(socket) string                                   = socket.Protocol
	_ func(socket) string                                   = socket.Extensions
	_ func(socket) int                                      = socket.BufferedAmount
	_ func(socket) <-chan struct{}                          = socket.Done
	_ func(socket) context.Context                          = socket.Context
	_ func(socket) error                                    = socket.Err
	_ func(socket) net.Addr                                 = socket.RemoteAddr
	_ func(socket) net.Addr                                 = socket.LocalAddr
	_ func(socket, func(edgews.OpenEvent)) (remove func())  = socket.OnOpen
	_ func(socket, func(edgews.MessageEvent)) func()        = socket.OnMessage
	_ func(socket, func(edgews.CloseEvent)) func()          = socket.OnClose
	_ func(socket, func(edgews.ErrorEvent)) func()          = socket.OnError
	_ func(socket, context.Context) (edgews.Message, error) = socket.Receive

	_ func(socket, context.Context) iter.Seq2[edgews.Message, error]                   = socket.Messages
	_ func(socket, context.Context) (edgews.Kind, io.Reader, error)                    = socket.NextReader
	_ func(socket, context.Context, edgews.Kind) (io.WriteCloser, error)               = socket.NextWriter
	_ func(socket, context.Context, edgews.Kind, []byte) error                         = socket.Write
	_ func(socket, context.Context) error                                              = socket.Flush
	_ func(socket, context.Context) (rtt time.Duration, err error)                     = socket.Ping
	_ func(socket, edgews.Kind) net.Conn                                               = edgews.NetConn
	_ func(socket, any) error                                                          = edgews.SendJSON
	_ func(context.Context, socket) (int, error)                                       = edgews.ReceiveJSON[int]
	_ func(socket, func(int) error) (remove func())                                    = edgews.OnJSON[int]
	_ func(*edgews.Mux, string, func(context.Context, socket, int) error)              = edgews.Handle[int]
	_ func(*edgews.Mux, context.Context, socket, edgews.Message) error                 = (*edgews.Mux).Dispatch
	_ func(*http.Request) bool                                                         = edgews.IsUpgrade
	_ func(http.ResponseWriter, *http.Request, *edgews.UpgradeOptions) (socket, error) = edgews.Upgrade
	_ func(http.ResponseWriter, *http.Request, socket, *edgews.UpgradeOptions) error   = edgews.Respond

	_ func(net.Conn, []byte, *http.Request, *edgews.UpgradeOptions) (socket, error)      = edgews.UpgradeConn
	_ func(context.Context, string, *edgews.ReconnectOptions) iter.Seq2[socket, error]   = edgews.Reconnect
	_ func(context.Context, socket, socket) error                                        = edgews.Relay
	_ func(string, *edgews.ProxyOptions) http.Handler                                    = edgews.Proxy
	_ func(context.Context, string, *edgews.DialOptions) (socket, *http.Response, error) = edgews.Dial
	_ func(string, ...string) (socket, error)                                            = edgews.NewWebSocket
)

type hub = *edgews.Hub

var (
	_ func(*edgews.HubOptions) hub                                                                     = edgews.NewHub
	_ func(hub, http.ResponseWriter, *http.Request, *edgews.UpgradeOptions, ...string) (socket, error) = hub.Upgrade
	_ func(hub, socket, ...string) error                                                               = hub.Add
	_ func(hub, ...string) iter.Seq[socket]                                                            = hub.Sockets
	_ func(hub) int                                                                                    = hub.Len
	_ func(hub, *edgews.Prepared, ...string) int                                                       = hub.Broadcast
	_ func(hub, context.Context) error                                                                 = hub.Shutdown

	_ = edgews.HubOptions{
		Options: edgews.Options{}, MaxSockets: int(0), MaxPerKey: int(0), Key: func(*http.Request) string { return "" },
		MaxLifetime: time.Second, IdleTimeout: time.Second,
	}
	_ = edgews.NamespaceOptions{MaxSockets: int(0), MaxPerKey: int(0), Key: func(*http.Request) string { return "" }, MaxLifetime: time.Second}
)

type (
	state     = *edgews.State
	namespace = *edgews.Namespace
	storage   = *edgews.Storage
)

var (
	_ func(string, func(context.Context, state) (edgews.Object, error), *edgews.NamespaceOptions) namespace = edgews.NewNamespace

	_ func(namespace, string) edgews.ID                 = namespace.IDFromName
	_ func(namespace) edgews.ID                         = namespace.NewUniqueID
	_ func(namespace, string) (edgews.ID, error)        = namespace.ParseID
	_ func(namespace, edgews.ID) *edgews.Stub           = namespace.Get
	_ func(namespace, string) *edgews.Stub              = namespace.ByName
	_ func(edgews.ID) string                            = edgews.ID.Name
	_ func(context.Context) int                         = edgews.AlarmRetry
	_ func(namespace) iter.Seq[edgews.ObjectInfo]       = namespace.Objects
	_ func(namespace, context.Context, edgews.ID) error = namespace.Hibernate
	_ func(namespace, context.Context) error            = namespace.Shutdown
	_ func(state) edgews.ID                             = state.ID
	_ func(state, socket, ...string) error              = state.AcceptWebSocket
	_ func(state, ...string) []socket                   = state.WebSockets
	_ func(state, socket) ([]string, error)             = state.Tags
	_ func(state, socket, ...string) error              = state.SetTags
	_ func(state, *edgews.Prepared, ...string) int      = state.Broadcast
	_ func(state, ...edgews.AutoResponse) error         = state.SetAutoResponse
	_ func(state) []edgews.AutoResponse                 = state.AutoResponses
	_ func(state, socket) (time.Time, bool)             = state.AutoResponseTimestamp
	_ func(state, time.Duration) error                  = state.SetEventTimeout
	_ func(state) time.Duration                         = state.EventTimeout
	_ func(state, func(context.Context))                = state.WaitUntil
	_ func(state, context.Context, func() error) error  = state.Do
	_ func(state, error)                                = state.Abort
	_ func(state) storage                               = state.Storage
	_ func(socket, any) error                           = socket.SetAttachment
	_ func(socket, any) error                           = socket.Attachment

	_ http.Handler          = (*edgews.Stub)(nil)
	_ edgews.Object         = http.Handler(nil)
	_ edgews.MessageHandler = (*room)(nil)
	_ edgews.CloseHandler   = (*room)(nil)
	_ edgews.ErrorHandler   = (*room)(nil)
	_ edgews.AlarmHandler   = (*room)(nil)
	_ edgews.Suspender      = (*sleeper)(nil)

	_ = edgews.ProxyOptions{Options: edgews.Options{}, Rewrite: func(*httputil.ProxyRequest) {}, HTTPClient: http.DefaultClient, Meter: (*edgews.Meter)(nil)}
	_ = edgews.NamespaceOptions{Options: edgews.Options{}, HibernateAfter: time.Second, Store: edgews.Store(nil), Tenant: func(edgews.ID) string { return "" }}
	_ = edgews.AutoResponse{Request: "", Response: ""}
	_ = []error{edgews.ErrNoAttachment}
)

var (
	_ func(storage, context.Context, string) ([]byte, error)                = storage.Get
	_ func(storage, context.Context, string, []byte) error                  = storage.Put
	_ func(storage, context.Context, string) error                          = storage.Delete
	_ func(storage, context.Context, string) iter.Seq2[edgews.Entry, error] = storage.List
	_ func(storage, context.Context, func(tx *edgews.Tx) error) error       = storage.Update
	_ func(storage, context.Context, time.Time) error                       = storage.SetAlarm
	_ func(storage, context.Context) (time.Time, error)                     = storage.Alarm
	_ func(storage, context.Context) error                                  = storage.DeleteAlarm
	_ func(storage, context.Context) error                                  = storage.DeleteAll
	_ func() edgews.Store                                                   = edgews.NewMemoryStore

	_ func(storage, context.Context, edgews.Range) iter.Seq2[edgews.Entry, error]            = storage.Scan
	_ func(storage, context.Context, ...string) (map[string][]byte, error)                   = storage.GetMany
	_ func(*edgews.Tx, edgews.Range) iter.Seq2[edgews.Entry, error]                          = (*edgews.Tx).Scan
	_ func(*edgews.Tx, ...string) (map[string][]byte, error)                                 = (*edgews.Tx).GetMany
	_ func(edgews.ObjectStore, context.Context, edgews.Range) iter.Seq2[edgews.Entry, error] = edgews.ObjectStore.Scan

	_ = edgews.Range{Prefix: "", Start: "", After: "", End: "", Reverse: false, KeysOnly: false, Limit: int(0)}
	_ = edgews.Entry{Key: "", Value: []byte(nil)}
	_ = []error{edgews.ErrKeyNotFound, edgews.ErrFenced}
)

var (
	_ = [...]edgews.Kind{0: 0, edgews.Text: 1, edgews.Binary: 2}
	_ = [...]edgews.ReadyState{edgews.Connecting: 0, edgews.Open: 1, edgews.Closing: 2, edgews.Closed: 3}
	_ = [...]edgews.Overflow{edgews.OverflowError, edgews.OverflowClose, edgews.OverflowDrop}

	_ = edgews.OpenEvent{Target: socket(nil)}
	_ = edgews.MessageEvent{Target: nil, Message: edgews.Message{Kind: edgews.Text, Data: []byte(nil)}}
	_ = edgews.CloseEvent{Target: nil, Code: edgews.StatusNormalClosure, Reason: "", WasClean: true}
	_ = edgews.ErrorEvent{Target: nil, Err: error(nil)}

	_ = edgews.CloseError{Code: edgews.StatusTLSHandshake, Reason: "", WasClean: false}
	_ = edgews.ProtocolError{Code: edgews.StatusProtocolError, Section: "", Detail: ""}
	_ = edgews.HandshakeError{StatusCode: int(0), Detail: ""}

	_ = edgews.UpgradeOptions{
		Options: edgews.Options{
			MaxMessageSize: int64(0), SendBuffer: int(0), Overflow: edgews.OverflowError,
			KeepAlive: time.Second, KeepAliveTimeout: time.Second, CloseTimeout: time.Second, WriteTimeout: time.Second,
			Compression: &edgews.Compression{Disable: true}, RateLimit: edgews.RateLimit{}, Meter: meter(nil), Logger: (*slog.Logger)(nil),
		},
		Protocols: []string(nil), AllowedOrigins: []string(nil), InsecureSkipOriginCheck: false, Header: http.Header(nil),
	}
	_ = edgews.DialOptions{Options: edgews.Options{}, Protocols: []string(nil), Header: http.Header(nil), HTTPClient: (*http.Client)(nil)}

	_ = []error{edgews.ErrNotAccepted, edgews.ErrAccepted, edgews.ErrClosed, edgews.ErrBufferFull, edgews.ErrMessageTooBig}
	_ = []error{&edgews.CloseError{}, &edgews.ProtocolError{}, &edgews.HandshakeError{}}
)

type (
	meter = *edgews.Meter
	usage = edgews.Usage
)

var (
	_ func(*edgews.MeterOptions) meter     = edgews.NewMeter
	_ func(meter, string) meter            = meter.Tenant
	_ func(meter) usage                    = meter.Usage
	_ func(meter) iter.Seq2[string, usage] = meter.Tenants
	_ func(usage, usage) usage             = usage.Add
	_ func(usage, usage) usage             = usage.Sub

	_ func(edgews.Plan, usage) edgews.Bill                      = edgews.Plan.Bill
	_ func(edgews.USD) string                                   = edgews.USD.String
	_ fmt.Stringer                                              = edgews.Bill{}
	_ func(namespace, edgews.Plan) iter.Seq[edgews.Explanation] = namespace.Explain

	_ int64 = int64(edgews.USD(1))
	_       = edgews.Bill{Plan: edgews.Plan{Name: ""}.Name, Lines: []edgews.Line{}, Total: edgews.USD(0)}
	_       = edgews.Line{Item: "", Quantity: int64(0), Included: int64(0), Billed: int64(0), Unit: "", Cost: edgews.USD(0)}
	_       = []edgews.Plan{
		edgews.DurableObjects, edgews.DurableObjects2024, edgews.DurableObjects2023,
		edgews.WorkersStandard, edgews.WorkersBundled, edgews.WorkersUnbound, edgews.ActiveConnection2021,
	}

	_ = edgews.MeterOptions{Record: func(edgews.Record) {}}
	_ = edgews.Usage{
		HTTPRequests: int64(0), Connections: int64(0), MessagesIn: int64(0), MessagesOut: int64(0), AutoResponses: int64(0), Alarms: int64(0),
		BytesIn: int64(0), BytesOut: int64(0), Active: time.Second, Connected: time.Second, Busy: time.Second,
	}
)
