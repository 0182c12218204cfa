package edgews_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/edgews/edgews"
)

// Wallet keeps the coins of one user.
type Wallet struct{ coins int }

type payment struct{ Coins int }

var errTooPoor = errors.New("not enough coins")

func (*Wallet) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

func (w *Wallet) Call(_ context.Context, method string, req json.RawMessage) (any, error) {
	var p payment
	if err := json.Unmarshal(req, &p); err != nil {
		return nil, err
	}
	switch {
	case method != "pay":
		return nil, fmt.Errorf("%w: %q", edgews.ErrUnknownMethod, method)
	case p.Coins > w.coins:
		return nil, errTooPoor
	}
	w.coins -= p.Coins
	return w.coins, nil
}

// A handler, or another object, calls a method of an object. What the method returns, errors included, comes back.
func ExampleCall() {
	ctx := context.Background()
	wallets := edgews.NewNamespace("wallets", func(context.Context, *edgews.State) (edgews.Object, error) {
		return &Wallet{coins: 10}, nil
	}, nil)
	defer wallets.Shutdown(ctx)
	ann := wallets.Get(wallets.IDFromName("ann"))

	left, err := edgews.Call[payment, int](ctx, ann, "pay", payment{7})
	fmt.Println(left, err)
	_, err = edgews.Call[payment, int](ctx, ann, "pay", payment{7})
	fmt.Println(err == errTooPoor)
	// Output:
	// 3 <nil>
	// true
}

// Do gives a program, or a test, the object itself.
func ExampleStub_Do() {
	ctx := context.Background()
	wallets := edgews.NewNamespace("wallets", func(context.Context, *edgews.State) (edgews.Object, error) {
		return &Wallet{coins: 10}, nil
	}, nil)
	defer wallets.Shutdown(ctx)

	var coins int
	err := wallets.Get(wallets.IDFromName("ann")).Do(ctx, func(_ context.Context, o edgews.Object) error {
		coins = o.(*Wallet).coins
		return nil
	})
	fmt.Println(coins, err)
	// Output: 10 <nil>
}

// Connect opens a socket to an object without a network: between objects, and in tests.
func ExampleStub_Connect() {
	ctx := context.Background()
	rooms := edgews.NewNamespace("rooms", NewRoom, nil)
	defer rooms.Shutdown(ctx)
	lobby := rooms.Get(rooms.IDFromName("lobby"))

	ann, _, err := lobby.Connect(ctx, httptest.NewRequest("GET", "/?name=ann", nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	ann.Write(ctx, edgews.Text, []byte("hello"))
	m, _ := ann.Receive(ctx)
	fmt.Println(m.Text())
	ann.Close(edgews.StatusNormalClosure, "")
	// Output: ann: hello
}
