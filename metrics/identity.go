package metrics

import "github.com/edgews/edgews"

// describe returns the namespace of a socket, and the class that it has without Options.Class.
func describe(s *edgews.Socket) (namespace, class string) {
	info := s.Info()
	if info.Client {
		return info.Namespace, "client"
	}
	return info.Namespace, "server"
}

// nameOf returns the name of a namespace, and "" for nil.
func nameOf(n *edgews.Namespace) string {
	if n == nil {
		return ""
	}
	return n.Name()
}
