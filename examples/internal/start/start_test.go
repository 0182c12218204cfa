package start

import (
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
	if noArguments(nil) != nil || noArguments([]string{"8081"}) == nil {
		t.Error("only flags are arguments")
	}
}
