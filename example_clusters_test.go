package edgews_test

import "github.com/edgews/edgews"

// The module github.com/edgews/edgews/cluster has the Cluster, and examples that run.
func ExampleNamespaceOptions_cluster() {
	serve := func(c edgews.Cluster) *edgews.Namespace {
		rooms := edgews.NewNamespace("rooms", NewRoom, &edgews.NamespaceOptions{Cluster: c}) // c, of cluster.Join, is this machine's membership
		return rooms
	}
	_ = serve
}
