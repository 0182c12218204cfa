// Package browser has Chromium open the pages of the examples, for their tests.
package browser

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Start starts Chromium and returns the context of a tab in it. Two pages that are looked at need two of them: a tab in the
// background does not draw. more are further options of the browser. Without Chromium the test is skipped, except in CI, where it has to be there.
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
		chromedp.NoSandbox, // for root, as which CI runs; only our own page is opened
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

// Act does something in a tab.
func Act(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(tab, steps...); err != nil {
		t.Fatal(err)
	}
}

// Text returns what the first element that matches selector says.
func Text(t *testing.T, tab context.Context, selector string) string {
	t.Helper()
	s, err := chromedp.Run(tab, chromedp.Text(selector))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
