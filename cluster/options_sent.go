package cluster

import "github.com/edgews/edgews"

// sentOptionsOf returns what of o can be sent to another node. Functions, loggers and meters cannot.
func sentOptionsOf(o edgews.Options) sentOptions {
	s := sentOptions{
		MaxMessageSize: o.MaxMessageSize, SendBuffer: o.SendBuffer, KeepAlive: o.KeepAlive, KeepAliveTimeout: o.KeepAliveTimeout,
		CloseTimeout: o.CloseTimeout, WriteTimeout: o.WriteTimeout, RateMessages: o.RateLimit.Messages, RateBytes: o.RateLimit.Bytes,
		Overflow: o.Overflow,
	}
	if c := o.Compression; c != nil {
		s.Compression = sentCompression{c.Disable, c.NoContextTakeover, c.WindowBits, c.Threshold, c.Level}
	}
	return s
}

// options returns the options of a socket at its edge, or at a new home.
func (s sentOptions) options() edgews.Options {
	c := s.Compression
	return edgews.Options{
		MaxMessageSize: s.MaxMessageSize, SendBuffer: s.SendBuffer, KeepAlive: s.KeepAlive, KeepAliveTimeout: s.KeepAliveTimeout,
		CloseTimeout: s.CloseTimeout, WriteTimeout: s.WriteTimeout, Overflow: s.Overflow,
		RateLimit: edgews.RateLimit{Messages: s.RateMessages, Bytes: s.RateBytes},
		Compression: &edgews.Compression{
			Disable: c.Disable, NoContextTakeover: c.NoContextTakeover, WindowBits: c.WindowBits, Threshold: c.Threshold, Level: c.Level,
		},
	}
}
