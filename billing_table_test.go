package edgews_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBillTable(t *testing.T) {
	b := edgews.DurableObjects.Bill(edgews.Usage{Connections: 150_000, MessagesIn: 72_000_000, Active: 86_400_000 * time.Second})
	assert.Equal(t, strings.TrimSpace(`
Durable Objects

item        quantity   included      billed  unit      price                  cost
base fee           1          0           1  period    $5.00                 $5.00
requests   3,750,000  1,000,000   3,000,000  requests  $0.15 per million     $0.45
duration  11,059,200    400,000  11,000,000  GB-s      $12.50 per million  $137.50
total                                                                      $142.95
`), b.String())

	p := edgews.Plan{
		Name:          "Münchner Tarif",
		ConnectedTime: edgews.Rate{Price: 1, Per: 3600},
		Messages:      edgews.Rate{Price: 5_000_000, Per: 1000},
		MessagesOut:   edgews.Rate{Price: -5_000_000},
		BytesOut:      edgews.Rate{Price: 9 * edgews.Cent, Per: 1_000_000_000, Included: 999},
	}
	b = p.Bill(edgews.Usage{Connected: math.MaxInt64, MessagesOut: 100, BytesOut: 1000})
	assert.Equal(t, strings.TrimSpace(`
Münchner Tarif

item                 quantity  included         billed  unit      price                     cost
connected time  9,223,372,037         0  9,223,372,037  s         $0.000000001 per 3,600   $0.00
messages                  100         0            100  messages  $0.005 per thousand      $0.00
messages out              100         0            100  messages  -$0.005                 -$0.50
traffic out             1,000       999              1  bytes     $0.09 per billion        $0.00
total                                                                                     -$0.50
`), b.String())
}

// A bill of corrections, with negative amounts.
func TestBillTableOfCorrections(t *testing.T) {
	b := edgews.Bill{Plan: "credit", Lines: []edgews.Line{{Item: "messages", Quantity: -123_456, Billed: -123}}, Total: -edgews.Dollar}
	assert.Contains(t, b.String(), " -123,456 ")
	assert.Contains(t, b.String(), " -123 ")
	assert.Contains(t, b.String(), "  -$1.00")
	assert.Equal(t, "\n\nitem   quantity  included  billed  unit  price   cost\ntotal                                           $0.00", edgews.Bill{}.String())
}

func TestBillInJSON(t *testing.T) {
	b := edgews.DurableObjects2024.Bill(edgews.Usage{HTTPRequests: 1_500_000})
	text, err := json.Marshal(b)
	require.NoError(t, err)
	assert.JSONEq(t, `{
		"plan": "Durable Objects, April 2024 to July 2026",
		"lines": [
			{"item": "base fee", "quantity": 1, "included": 0, "billed": 1, "unit": "period", "price": "5.00", "per": 1, "cost": "5.00"},
			{"item": "requests", "quantity": 1500000, "included": 1000000, "billed": 500000, "unit": "requests",
				"price": "0.15", "per": 1000000, "cost": "0.075"},
			{"item": "duration", "quantity": 0, "included": 400000, "billed": 0, "unit": "GB-s", "price": "12.50", "per": 1000000, "cost": "0.00"}
		],
		"total": "5.075"
	}`, string(text))

	var back edgews.Bill
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, b, back)

	text, err = json.Marshal(edgews.Plan{}.Bill(edgews.Usage{}))
	require.NoError(t, err)
	assert.JSONEq(t, `{"plan": "", "lines": [], "total": "0.00"}`, string(text), "lines is an array, even when it is empty")
}
