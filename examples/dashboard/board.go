package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/edgews/edgews"
)

// interval is the time between two updates of a page that takes them at once.
const interval = 100 * time.Millisecond

// board is the object of all pages. While there are any, it follows the exchange over one connection; otherwise it hibernates.
//
// Fields that change need no mutex: they are used only in events of the object, and by work in the background within Do.
type board struct {
	st     *edgews.State
	mux    edgews.Mux
	url    string       // of the exchange
	client *http.Client // to connect with; nil: the default

	following bool
	feed      string // what pages show of the connection to the exchange
	symbols   map[string]*symbol
	readers   map[*edgews.Socket]*reader
}

// reader is what the board knows of a page: what it wants, and what it has got.
type reader struct {
	feed   string
	trades map[string]int // by symbol: symbol.trades at the time of its last quote
}

// update is a message to a page.
type update struct {
	Feed   string  `json:"feed"`
	Quotes []quote `json:"quotes"`
}

// newBoards returns the namespace of the boards of the exchange at url.
func newBoards(url string, client *http.Client) *edgews.Namespace {
	construct := func(_ context.Context, st *edgews.State) (edgews.Object, error) { return newBoard(st, url, client) }
	return edgews.NewNamespace("boards", construct, &edgews.NamespaceOptions{Options: edgews.Options{
		MaxMessageSize: 4 << 10, RateLimit: edgews.RateLimit{Messages: 50},
	}})
}

func newBoard(st *edgews.State, url string, client *http.Client) (*board, error) {
	b := &board{st: st, url: url, client: client, symbols: make(map[string]*symbol), readers: make(map[*edgews.Socket]*reader)}
	for _, name := range listed {
		b.symbols[name] = new(symbol)
	}
	edgews.Handle(&b.mux, "subscribe", b.subscribe)
	edgews.Handle(&b.mux, "unsubscribe", b.unsubscribe)
	for _, s := range st.WebSockets() { // after a panic: these pages have to subscribe again
		s.Close(edgews.StatusServiceRestart, "the board starts again")
	}
	return b, st.SetAutoResponse(edgews.AutoResponse{Request: "ping", Response: "pong"}) // pages check the connection with it
}

func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	b.join(s)
}

// join accepts a page and tells it the symbols.
func (b *board) join(s *edgews.Socket) {
	if err := b.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
		return
	}
	edgews.SendJSON(s, map[string]any{"symbols": listed})
	b.readers[s] = &reader{trades: make(map[string]int)}
	b.start()
}

// WebSocketMessage calls subscribe or unsubscribe, for example for {"type": "subscribe", "symbols": ["ANT", "BEE"]}.
func (b *board) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	err := b.mux.Dispatch(ctx, s, m)
	if err != nil {
		s.Close(edgews.StatusPolicyViolation, err.Error())
	}
	return err
}

type wish struct{ Symbols []string }

func (b *board) subscribe(_ context.Context, s *edgews.Socket, w wish) error {
	for _, name := range w.Symbols {
		if b.symbols[name] == nil {
			return fmt.Errorf("%w: there is no such symbol", edgews.ErrBadMessage)
		}
		if r := b.readers[s]; r != nil {
			r.trades[name] = 0
		}
	}
	return nil
}

func (b *board) unsubscribe(_ context.Context, s *edgews.Socket, w wish) error {
	for _, name := range w.Symbols {
		if r := b.readers[s]; r != nil {
			delete(r.trades, name)
		}
	}
	return nil
}

func (b *board) WebSocketClose(_ context.Context, s *edgews.Socket, _ edgews.CloseEvent) error {
	delete(b.readers, s)
	return nil
}

// start begins to follow the exchange if there are pages. This is work in the background, which keeps the object awake.
func (b *board) start() {
	if !b.following && len(b.readers) > 0 {
		b.following, b.feed = true, "connecting"
		b.st.WaitUntil(b.follow)
	}
}

// follow reads the trades of the exchange, and updates the pages, until there are none. Then the connection to the exchange is closed.
func (b *board) follow(background context.Context) {
	ctx, stop := context.WithCancel(background)
	defer stop()
	var updating sync.WaitGroup
	updating.Go(func() { defer stop(); b.updatePages(ctx) })

	opts := &edgews.ReconnectOptions{MaxDelay: 10 * time.Second, OnWait: func(err error, d time.Duration) {
		b.setFeed(ctx, fmt.Sprintf("The exchange is away (%v). Next attempt in %.0f s.", err, d.Seconds()))
	}}
	opts.HTTPClient = b.client
	for feed, err := range edgews.Reconnect(ctx, b.url, opts) {
		if err != nil {
			b.st.Do(ctx, func() error { b.giveUp(err); return nil }) // no effect if there are no pages
			break
		}
		b.setFeed(ctx, "live")
		for msg, err := range feed.Messages(ctx) {
			if err != nil || b.handle(ctx, msg.Data) != nil {
				break
			}
		}
		feed.Close(edgews.StatusGoingAway, "") // no effect if it has ended
	}
	stop()
	updating.Wait()
	b.st.Do(background, func() error { // a page may have come meanwhile
		b.following = false
		b.start()
		return nil
	})
}

func (b *board) setFeed(ctx context.Context, text string) {
	b.st.Do(ctx, func() error { b.feed = text; return nil })
}

// giveUp closes the pages, which connect again later, because Reconnect has ended with err.
func (b *board) giveUp(err error) {
	log.Print("the exchange refuses the board: ", err)
	for s := range b.readers {
		s.Close(edgews.StatusTryAgainLater, "the exchange refuses the board")
	}
	clear(b.readers)
}

// handle adds a trade, unless it is a test, or not valid.
func (b *board) handle(ctx context.Context, data []byte) error {
	var t trade
	if err := json.Unmarshal(data, &t); err != nil || t.Test || t.Price <= 0 || t.Volume <= 0 || !slices.Contains(listed, t.Symbol) {
		return nil
	}
	return b.st.Do(ctx, func() error {
		b.symbols[t.Symbol].add(t.Price, t.Volume, time.Now())
		return nil
	})
}

var errNoPages = errors.New("there is no page")

// updatePages updates the pages in intervals, as long as there are any.
func (b *board) updatePages(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		err := b.st.Do(ctx, func() error {
			for s, r := range b.readers {
				b.update(s, r)
			}
			if len(b.readers) == 0 {
				return errNoPages
			}
			return nil
		})
		if err != nil {
			return
		}
	}
}

// update sends a page what has changed since its last update. A page that has not taken that one yet gets none: when it has, it gets the
// newest values instead of all those that it has missed. So one update at most waits for a slow page.
func (b *board) update(s *edgews.Socket, r *reader) {
	if s.BufferedAmount() > 0 {
		return
	}
	u := update{Feed: b.feed}
	for _, name := range listed {
		if had, wanted := r.trades[name]; wanted && b.symbols[name].trades > had {
			u.Quotes = append(u.Quotes, b.symbols[name].quote(name, had))
			r.trades[name] = b.symbols[name].trades
		}
	}
	if len(u.Quotes) > 0 || u.Feed != r.feed {
		r.feed = u.Feed
		edgews.SendJSON(s, u) // it fails if the page is leaving
	}
}
