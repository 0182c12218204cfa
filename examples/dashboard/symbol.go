package main

import (
	"slices"
	"time"
)

const window = 60 // seconds that are kept of a symbol

// symbol adds up the trades of a symbol in the last minute. Its memory does not depend on how many there are.
type symbol struct {
	seconds []second // in which there were trades, oldest first
	trades  int      // since the start
}

// second is what happened in one second.
type second struct {
	At     int64   `json:"at"` // seconds since 1970
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Last   float64 `json:"last"`
	volume int
	upTo   int // symbol.trades after the last trade
}

// quote is what a page gets of a symbol.
type quote struct {
	Symbol    string   `json:"symbol"`
	Last      float64  `json:"last"`
	Low       float64  `json:"low"`       // in the window
	High      float64  `json:"high"`      // in the window
	PerSecond float64  `json:"perSecond"` // volume, on average
	Seconds   []second `json:"seconds"`   // those that have changed, for the chart
}

// add adds a trade.
func (s *symbol) add(price float64, volume int, now time.Time) {
	at := now.Unix()
	if n := len(s.seconds); n == 0 || s.seconds[n-1].At < at {
		s.seconds = slices.DeleteFunc(s.seconds, func(old second) bool { return old.At <= at-window })
		s.seconds = append(s.seconds, second{At: at, Low: price, High: price})
	}
	s.trades++
	current := &s.seconds[len(s.seconds)-1]
	current.Low, current.High, current.Last = min(current.Low, price), max(current.High, price), price
	current.volume += volume
	current.upTo = s.trades
}

// quote returns the quote for a page that has one of the time when there were that many trades. There must have been more since.
func (s *symbol) quote(name string, trades int) quote {
	first, last := s.seconds[0], s.seconds[len(s.seconds)-1]
	q := quote{Symbol: name, Last: last.Last, Low: first.Low, High: first.High}
	volume := 0
	for _, sec := range s.seconds {
		q.Low, q.High = min(q.Low, sec.Low), max(q.High, sec.High)
		volume += sec.volume
		if sec.upTo > trades {
			q.Seconds = append(q.Seconds, sec)
		}
	}
	q.PerSecond = float64(volume) / float64(last.At-first.At+1)
	return q
}
