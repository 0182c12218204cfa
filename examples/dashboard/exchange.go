package main

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/edgews/edgews"
)

// listed are the symbols of the exchange.
var listed = []string{"ANT", "BEE", "CAT", "DOE", "ELK", "FOX", "GNU", "HEN", "IBEX", "JAY"}

const tradesPerSecond = 100

// trade is a message of the exchange.
type trade struct {
	Symbol string  `json:"symbol"`
	Price  float64 `json:"price"`
	Volume int     `json:"volume"`
	Test   bool    `json:"test,omitempty"` // it did not happen: exchanges send such trades for tests of their clients
}

// exchange is the object of the fake exchange: a random walk for each symbol. It sends all trades to all connections.
type exchange struct {
	st      *edgews.State
	prices  map[string]float64
	trading bool
}

func newExchange(_ context.Context, st *edgews.State) (edgews.Object, error) {
	x := &exchange{st: st, prices: make(map[string]float64)}
	for i, symbol := range listed {
		x.prices[symbol] = 20 * math.Pow(1.6, float64(i))
	}
	return x, nil
}

func (x *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return // answered already
	}
	if err := x.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, err.Error())
		return
	}
	if !x.trading {
		x.trading = true
		x.st.WaitUntil(x.open)
	}
}

var errNoClients = errors.New("there is no client")

// open trades as long as there are clients.
func (x *exchange) open(ctx context.Context) {
	ticker := time.NewTicker(time.Second / tradesPerSecond)
	defer ticker.Stop()
	for x.st.Do(ctx, x.tick) == nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// tick is an event of the object.
func (x *exchange) tick() error {
	if len(x.st.WebSockets()) == 0 {
		x.trading = false
		return errNoClients
	}
	symbol := listed[rand.IntN(len(listed))]
	x.prices[symbol] *= math.Exp(0.002 * rand.NormFloat64())
	t := trade{Symbol: symbol, Price: math.Round(x.prices[symbol]*100) / 100, Volume: 1 + rand.IntN(100)}
	if rand.IntN(50) == 0 {
		t.Price, t.Test = 1e6, true
	}
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	x.st.Broadcast(edgews.Prepare(edgews.Text, data))
	return nil
}
