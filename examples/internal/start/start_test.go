package start

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenPrintsAURLThatOpens(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "localhost:0", "127.0.0.1:0"} {
		l, url, err := Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(url, "http://localhost:") && !strings.HasPrefix(url, "http://127.0.0.1:") && !strings.HasPrefix(url, "http://[::1]:") {
			t.Errorf("%s: %s", addr, url)
		}
		_, _, err = Listen(l.Addr().String())
		if err == nil || !strings.Contains(err.Error(), "-addr") {
			t.Errorf("%s, taken: %v", addr, err)
		}
		l.Close()
	}
}

func TestAStoreThatIsOpenNamesTheFlag(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	store, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err = OpenStore(path); err == nil || !strings.Contains(err.Error(), "-data") {
		t.Error(err)
	}
}

func TestArgumentsAreRefused(t *testing.T) {
	for args, want := range map[string]string{"": "<nil>", "-x": "<nil>", "-x 8081 y": `"8081" is not a flag: there are no other arguments (see -help)`} {
		flags := flag.NewFlagSet("test", flag.ContinueOnError)
		flags.Bool("x", false, "")
		if err := flags.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(NoArguments(flags)); got != want {
			t.Errorf("%q: %s", args, got)
		}
	}
}
