package edgews

import (
	"cmp"
	"log/slog"
	"net/http"
)

// logAttr returns the group of attributes that tells sockets apart in a log. What peers have chosen is in values, never in names or in the
// message, so that a handler of slog can quote it.
func (s *Socket) logAttr() slog.Attr {
	info := s.info()
	object := ""
	if info.Object != (ID{}) {
		object = info.Object.String()
	}
	return logGroup(slog.Uint64("id", info.ID), slog.String("remote", s.RemoteAddr().String()), slog.String("path", info.Path),
		slog.String("namespace", info.Namespace), slog.String("object", object), slog.String("protocol", info.Protocol))
}

// requestLogAttr returns the same group for a connection that is no socket: it is passed through, or has not been upgraded.
func requestLogAttr(r *http.Request) slog.Attr {
	path := ""
	if r.URL != nil {
		path = clippedTo(r.URL.Path, maxKeptName)
	}
	return logGroup(slog.String("remote", r.RemoteAddr), slog.String("path", path))
}

// logGroup returns the group with those of the attributes that are not empty.
func logGroup(attrs ...slog.Attr) slog.Attr {
	group := make([]any, 0, len(attrs))
	for _, a := range attrs {
		if a.Value.String() != "" {
			group = append(group, a)
		}
	}
	return slog.Group("websocket", group...)
}

// orDefaultLogger returns l, or the default logger, for what must not go unnoticed.
func orDefaultLogger(l *slog.Logger) *slog.Logger { return cmp.Or(l, slog.Default()) }
