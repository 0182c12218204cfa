package edgews_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A panic in this package that leaves a socket's mutex locked ends the process, with the reason. It must not be handled like a panic of a
// listener: that code needs the mutex and would wait for ever.
func TestPanicUnderTheMutexEndsTheProcess(t *testing.T) {
	const how = "EDGEWS_PANIC_UNDER_MUTEX"
	listeners := map[string]func(s *edgews.Socket){
		"the only listener": func(s *edgews.Socket) { s.OnMessage(func(edgews.MessageEvent) { edgews.PanicUnderMutex(s) }) },
		"one of two listeners": func(s *edgews.Socket) {
			record(t, s)
			s.OnMessage(func(edgews.MessageEvent) { edgews.PanicUnderMutex(s) })
		},
		"close listener": func(s *edgews.Socket) {
			s.OnMessage(func(edgews.MessageEvent) { s.Close(1000, "") })
			s.OnClose(func(edgews.CloseEvent) { edgews.PanicUnderMutex(s) })
		},
	}
	if name := os.Getenv(how); name != "" {
		client, server := overTCP.connect(t, edgews.Options{})
		if name == "pair" {
			client, server = edgews.NewPair()
			name = "the only listener"
		}
		listeners[name](server)
		acceptBoth(t, client, server)
		require.NoError(t, client.Send("go"))
		select {} // the panic ends the process
	}
	self := t.Name()
	for _, name := range []string{"the only listener", "one of two listeners", "close listener", "pair"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			command := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+self+"$")
			command.Env = append(os.Environ(), how+"="+name)
			output, err := command.CombinedOutput()
			require.Error(t, err)
			assert.Contains(t, string(output), "a fault under the mutex")
			assert.Contains(t, string(output), "PanicUnderMutex", "the stack of the panic")
		})
	}
}
