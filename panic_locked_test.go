package edgews_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/edgews/edgews"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A panic of the package's own, which leaves a socket's mutex locked, ends the process and says why. It must not be taken for
// the panic of a listener: what deals with that needs the mutex, and would wait for ever.
func TestPanicUnderTheMutexEndsTheProcess(t *testing.T) {
	const how = "EDGEWS_PANIC_UNDER_MUTEX"
	listeners := map[string]func(s *edgews.Socket){
		"the only listener": func(s *edgews.Socket) { s.OnMessage(func(edgews.MessageEvent) { edgews.PanicUnderMutex(s) }) },
		"one of two listeners": func(s *edgews.Socket) {
			record(t, s)
			s.OnMessage(func(edgews.MessageEvent) { edgews.PanicUnderMutex(s) })
		},
	}
	listeners["close listener"] = func(s *edgews.Socket) {
		s.OnMessage(func(edgews.MessageEvent) { s.Close(1000, "") })
		s.OnClose(func(edgews.CloseEvent) { edgews.PanicUnderMutex(s) })
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
		select {} // until the panic
	}
	for _, name := range []string{"the only listener", "one of two listeners", "close listener", "pair"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(within(t), os.Args[0], "-test.run=^"+t.Name()[:len("TestPanicUnderTheMutexEndsTheProcess")]+"$")
			command.Env = append(os.Environ(), how+"="+name)
			said, err := command.CombinedOutput()
			require.Error(t, err)
			assert.Contains(t, string(said), "a fault under the mutex")
			assert.Contains(t, string(said), "PanicUnderMutex", "the stack of the panic")
		})
	}
}
