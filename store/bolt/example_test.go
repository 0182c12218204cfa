package bolt_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/store/bolt"
)

// What is put into a store is there when the next process opens it.
func Example() {
	folder, err := os.MkdirTemp("", "edgews")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	newRoom := func(context.Context, *edgews.State) (edgews.Object, error) { return http.NotFoundHandler(), nil }

	for run := range 2 {
		store, err := bolt.Open(filepath.Join(folder, "objects.db"), nil)
		if err != nil {
			log.Fatal(err)
		}
		rooms := edgews.NewNamespace("rooms", newRoom, nil) // and the store among its options
		ctx := context.Background()
		room, err := store.Open(ctx, edgews.ObjectKey{Namespace: "rooms", ID: rooms.IDFromName("lobby")}, edgews.Fence{Epoch: 1})
		if err != nil {
			log.Fatal(err)
		}
		topic, err := room.Get(ctx, "topic")
		fmt.Printf("run %d: %q, %v\n", run, topic, err)
		if err := room.Commit(ctx, edgews.Batch{Puts: []edgews.Entry{{Key: "topic", Value: []byte("durable objects")}}}); err != nil {
			log.Fatal(err)
		}
		room.Release()
		if err := store.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// run 0: "", edgews: key is not in storage
	// run 1: "durable objects", <nil>
}
