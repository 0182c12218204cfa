// Package browser opens the pages of the examples in Chromium for their tests.
package browser

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/chromedp"
)

// limit is how long a page has for what a test waits for.
const limit = time.Minute

// Start starts Chromium and returns the context of a tab. A test with two visible pages needs two browsers, since a background tab does
// not draw. more are further options of the browser. Without Chromium the test is skipped, or fails in CI.
func Start(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path, err := find()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("Chromium is not installed, and in CI it has to be: apt-get install chromium")
	}
	if err != nil {
		t.Skip("Chromium is not installed: the page is not tested")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // CI runs as root; only the example's page is opened
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
	)
	options = append(options, more...)
	ctx, cancelTime := context.WithTimeout(context.Background(), 3*time.Minute)
	ctx, cancelBrowser := chromedp.NewExecAllocator(ctx, options...)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(func() { cancelTab(); cancelBrowser(); cancelTime() })
	return ctx
}

func find() (path string, err error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// Act runs actions in a tab, one after the other.
func Act(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	for _, step := range steps {
		if _, err := run(tab, step); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs an action. chromedp returns from a reload before it has dropped what it knows of the old page, so an action may be for a page
// that is gone: then nothing has happened, and it is tried again.
func run[T any](tab context.Context, action chromedp.Action[T]) (T, error) {
	for deadline := time.Now().Add(limit); ; time.Sleep(pause) {
		value, err := chromedp.Run(tab, action)
		if err == nil || !isOfOldPage(err) || time.Now().After(deadline) {
			return value, err
		}
	}
}

// pause is the time between two attempts.
const pause = 10 * time.Millisecond

// isOfOldPage reports whether an action has failed because the page is another one by now: Chromium does not know its execution context,
// or its element, any more.
func isOfOldPage(err error) bool {
	var failed *cdproto.Error
	return errors.As(err, &failed) && failed.Code == -32000
}

// Click clicks the first element that matches a CSS selector when it is visible. A query without a type would also search the text of the
// page and its style sheet, and all results would have to be visible.
func Click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

// SetValue sets the value of the first element that matches a CSS selector.
func SetValue(selector, value string) chromedp.Action[chromedp.Void] {
	return chromedp.SetValue(chromedp.CSS(selector), value)
}

// WaitVisible waits until the first element that matches a CSS selector is visible.
func WaitVisible(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector))
}

// Text returns the text of the first element that matches selector.
func Text(t *testing.T, tab context.Context, selector string) string {
	t.Helper()
	s, err := run(tab, chromedp.Text(chromedp.CSS(selector)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Holds waits until an expression is true in a tab, also if the page is loaded again meanwhile. what ends the sentence "the page is not …"
// of the error. It asks again and again, since the page may be hidden, and a hidden page draws nothing on which a poll could wait.
func Holds(t *testing.T, tab context.Context, what, expression string) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(pause) {
		holds, err := chromedp.Run(tab, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		switch {
		case holds:
			return
		case time.Now().After(deadline):
			t.Fatalf("the page is not %s: %v", what, err)
		}
	}
}

// Evaluate runs statements in a tab.
func Evaluate(t *testing.T, tab context.Context, statements string) {
	t.Helper()
	if done, err := run(tab, chromedp.Evaluate[bool]("(() => { "+statements+"; return true; })()")); err != nil || !done {
		t.Fatalf("%s: %v", statements, err)
	}
}

// Screenshot writes a picture of a tab to the directory that the environment names in EDGEWS_SCREENSHOTS, if it does.
func Screenshot(t *testing.T, tab context.Context, name string) {
	t.Helper()
	dir := os.Getenv("EDGEWS_SCREENSHOTS")
	if dir == "" {
		return
	}
	if png, err := run(tab, chromedp.CaptureScreenshot()); err != nil || os.WriteFile(filepath.Join(dir, name), png, 0o600) != nil {
		t.Error(err)
	}
}
