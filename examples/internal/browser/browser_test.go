package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestReloads acts on a page that is loaded again and again, by the test and by itself.
func TestReloads(t *testing.T) {
	tab := Start(t)
	var loads atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `<!doctype html><title>page</title><p id="load">%d</p><button onclick="clicked = true">click</button><script>
			if (location.hash === "#again") setTimeout(() => location.reload(), 5);
		</script>`, loads.Add(1))
	}))
	t.Cleanup(server.Close)
	Act(t, tab, chromedp.Navigate(server.URL))
	for n := range 20 {
		Act(t, tab, chromedp.Reload(), Click("button"))
		Holds(t, tab, "clicked", "window.clicked")
		if got, want := Text(t, tab, "#load"), fmt.Sprint(n+2); got != want {
			t.Fatalf("the page is that of load %s, want %s", got, want)
		}
	}
	Evaluate(t, tab, `location.hash = "#again"; setTimeout(() => location.reload(), 0)`)
	Holds(t, tab, "loaded a hundred times", `Number(document.getElementById("load").textContent) >= 100`)
}
