package faultrun

import (
	"encoding/json"
	"net/http"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/cluster"
)

// nodeState is what a node tells of itself.
type nodeState struct {
	Owned   int   // shards
	Refused int64 // commits that the fence of the storage has refused
	Home    bool  // the node is the home of the room that was asked for
}

// handler serves the rooms, and what controls the node: under a path of two parts, so that no room has it.
func (n *node) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{room}", func(w http.ResponseWriter, r *http.Request) { n.rooms.ByName(r.PathValue("room")).ServeHTTP(w, r) })
	mux.HandleFunc("/control/state", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(n.state(r.FormValue("room")))
	})
	mux.HandleFunc("/control/arm", func(_ http.ResponseWriter, r *http.Request) {
		room := r.FormValue("room")
		key := n.key(room)
		n.holds.arm(Phase(r.FormValue("phase")), room == anyRoom, key.ID, n.shardOf(key))
	})
	mux.HandleFunc("/control/release", func(_ http.ResponseWriter, r *http.Request) { n.holds.release(Phase(r.FormValue("phase"))) })
	mux.HandleFunc("/control/reached", func(w http.ResponseWriter, r *http.Request) {
		if err := n.holds.awaitReached(r.Context(), Phase(r.FormValue("phase"))); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	mux.HandleFunc("/control/blind", func(_ http.ResponseWriter, r *http.Request) { n.engine.blind.Store(r.FormValue("on") == "true") })
	mux.HandleFunc("/control/hold-watch", func(_ http.ResponseWriter, r *http.Request) { n.engine.holdWatch(r.FormValue("on") == "true") })
	mux.HandleFunc("/control/leave", func(w http.ResponseWriter, r *http.Request) {
		if err := n.cluster.Leave(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

func (n *node) key(room string) edgews.ObjectKey {
	return edgews.ObjectKey{Namespace: namespace, ID: n.rooms.IDFromName(room)}
}

func (n *node) shardOf(key edgews.ObjectKey) cluster.Shard {
	return cluster.ShardOf(key, n.config.Shards)
}

func (n *node) state(room string) nodeState {
	s := nodeState{Refused: n.engine.refused.Load()}
	for shard := range cluster.Shard(n.config.Shards) {
		if _, ok := n.cluster.Owns(shard); ok {
			s.Owned++
		}
	}
	if room != "" {
		s.Home = n.cluster.IsHome(n.key(room))
	}
	return s
}
