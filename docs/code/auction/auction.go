// Package auction is the program whose tests docs/testing.md shows: an auction room, a bidder and a viewer.
package auction

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/edgews/edgews"
)

// Auction is an object: it ends an hour after the last bid.
type Auction struct {
	st   *edgews.State
	best int
}

func New(ctx context.Context, st *edgews.State) (edgews.Object, error) {
	value, err := st.Storage().Get(ctx, "best")
	if err != nil && !errors.Is(err, edgews.ErrKeyNotFound) {
		return nil, err
	}
	best, _ := strconv.Atoi(string(value))
	return &Auction{st, best}, nil
}

func (o *Auction) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := edgews.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	if err := o.st.AcceptWebSocket(s); err != nil {
		s.Accept()
		s.Close(edgews.StatusTryAgainLater, "the room is full")
		return
	}
	s.Send(fmt.Sprint("best ", o.best))
}

func (o *Auction) WebSocketMessage(ctx context.Context, s *edgews.Socket, m edgews.Message) error {
	bid, err := strconv.Atoi(m.Text())
	if err != nil || bid <= o.best {
		return s.Send(fmt.Sprint("no, best ", o.best))
	}
	err = o.st.Storage().Update(ctx, func(tx *edgews.Tx) error {
		if err := tx.Put("best", []byte(strconv.Itoa(bid))); err != nil {
			return err
		}
		return tx.SetAlarm(time.Now().Add(time.Hour))
	})
	if err != nil {
		return err
	}
	o.best = bid
	o.st.Broadcast(edgews.Prepare(edgews.Text, fmt.Append(nil, "best ", bid)))
	return nil
}

func (o *Auction) Alarm(ctx context.Context) error {
	for _, s := range o.st.WebSockets() {
		s.Send(fmt.Sprint("sold for ", o.best))
		s.Close(edgews.StatusNormalClosure, "")
	}
	return o.st.Storage().Delete(ctx, "best")
}

// Handler leads each path to the auction of that name.
func Handler(auctions *edgews.Namespace) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auctions.ByName(r.URL.Path).ServeHTTP(w, r)
	})
}

// Bid bids one more than the others, up to a limit, until the auction ends.
func Bid(ctx context.Context, s *edgews.Socket, limit int) (last string, err error) {
	mine := -1
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return last, err
		}
		last = m.Text()
		price, err := strconv.Atoi(last[strings.LastIndex(last, " ")+1:])
		if err != nil || price >= limit {
			continue
		}
		if last == fmt.Sprint("best ", mine) || strings.HasPrefix(last, "sold") {
			continue
		}
		mine = price + 1
		if err := s.Write(ctx, edgews.Text, []byte(strconv.Itoa(mine))); err != nil {
			return last, err
		}
	}
	return last, nil
}

// Watch shows what happens in an auction, over as many connections as that takes.
func Watch(ctx context.Context, url string, client *http.Client, show func(string)) error {
	opts := &edgews.ReconnectOptions{DialOptions: edgews.DialOptions{HTTPClient: client}}
	for s, err := range edgews.Reconnect(ctx, url, opts) {
		if err != nil {
			return err
		}
		for m, err := range s.Messages(ctx) {
			if err != nil {
				break
			}
			show(m.Text())
		}
	}
	return nil
}
