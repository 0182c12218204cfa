package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/edgews/edgews"
)

func TestBill(t *testing.T) {
	usage := edgews.Usage{Connections: 100_000, MessagesIn: 50_000_000, Active: 720 * time.Hour}
	text, err := json.Marshal(usage)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("usage.json", string(text))
	mine := write("mine.json", `{"name":"Mine\u001b[2J","connections":{"price":"0.01"}}`)
	flags := []string{"-connections", "100000", "-messages-in", "50000000", "-active", "720h"}
	want := edgews.DurableObjects.Bill(usage)

	for _, test := range []struct {
		name  string
		stdin string
		args  []string
		plans []edgews.Bill
	}{
		{"flags", "", flags, []edgews.Bill{want}},
		{"file", "", []string{file}, []edgews.Bill{want}},
		{"stdin", string(text), []string{"-"}, []edgews.Bill{want}},
		{"durations as text", `{"Connections":100000,"MessagesIn":50000000,"Active":"720h"}`, []string{"-"}, []edgews.Bill{want}},
		{"flags over a file", "", []string{file, "-connections", "0"},
			[]edgews.Bill{edgews.DurableObjects.Bill(edgews.Usage{MessagesIn: usage.MessagesIn, Active: usage.Active})}},
		{"two plans", "", []string{file, "-plan", "workers-standard", "-plan", "durable-objects"}, []edgews.Bill{edgews.WorkersStandard.Bill(usage), want}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := runs(t, test.stdin, append([]string{"bill", "-json"}, test.args...)...)
			var got []edgews.Bill
			if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != exitSuccess || !reflect.DeepEqual(got, test.plans) {
				t.Errorf("exit code %d, %v\n got %+v\nwant %+v\n%s", r.code, err, got, test.plans, r.err)
			}
			r = runs(t, test.stdin, append([]string{"bill"}, test.args...)...)
			for _, b := range test.plans {
				r.wants(t, exitSuccess, b.String(), "")
			}
		})
	}
	runs(t, "", "bill", file, "-plan", mine).wants(t, exitSuccess, `Mine\x1b[2J`, "")
	runs(t, "", "bill", file, "-plan", mine).wants(t, exitSuccess, "$1000.00", "")
	all := runs(t, "", "bill", file, "-plan", "all")
	for _, p := range plans {
		all.wants(t, exitSuccess, p.plan.Name+"\n", "")
	}

	for _, test := range []struct{ name, stdin, plan, err string }{
		{"no JSON", "x", "all", "not a usage"},
		{"unknown field", `{"Conections":1}`, "all", `unknown field "Conections"`},
		{"negative", `{"Connections":-1}`, "all", "cannot be negative"},
		{"wrong duration", `{"Active":"long"}`, "all", "Active"},
		{"unknown plan", `{}`, "acme", `no price list "acme"`},
		{"no plan in the file", `{}`, write("wrong.json", `{"nme":"x"}`), "not a price list"},
		{"no such file", `{}`, "/nonexistent.json", "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			runs(t, test.stdin, "bill", "-plan", test.plan, "-").wants(t, exitUsage, "", test.err)
		})
	}
}

func TestFlagNames(t *testing.T) {
	for field, want := range map[string]string{
		"HTTPRequests": "http-requests", "MessagesIn": "messages-in", "Active": "active", "StoredByteHours": "stored-byte-hours",
	} {
		if got := flagName(field); got != want {
			t.Errorf("%s: got %s, want %s", field, got, want)
		}
	}
}
