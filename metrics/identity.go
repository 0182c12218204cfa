package metrics

import "github.com/edgews/edgews"

// describe returns the namespace of a socket, and the class that it has without Options.Class.
func describe(s *edgews.Socket) (namespace, class string) {
	if s.URL() != "" {
		return "", "client"
	}
	return "", "server"
}

// nameOf returns the name of a namespace, and "" for nil.
func nameOf(n *edgews.Namespace) string { return "" }
