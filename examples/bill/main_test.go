package main

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgews/edgews"
)

// output runs the program.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var out strings.Builder
	if err := run(args, &out); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return out.String()
}

// TestPublished checks that the result of each published example is the published one, or that a note explains the difference.
func TestPublished(t *testing.T) {
	for _, e := range examples {
		total := e.plan.Estimate(e.expect).Total.String()
		if wrong := e.name == "G2-2"; (total != e.published) != wrong {
			t.Errorf("%s costs %s, and %s was published", e.name, total, e.published)
		}
		if e.name == "G2-2" && total != "$148.91" {
			t.Errorf("with its connections %s costs %s", e.name, total)
		}
		shown := output(t, "-example", strings.ToLower(e.name))
		for _, want := range []string{e.plan.Name, total + "\n", "Published example " + e.name + ": " + e.published + "." + e.note} {
			if !strings.Contains(shown, want) {
				t.Errorf("%s does not show %q:\n%s", e.name, want, shown)
			}
		}
	}
	if len(examples) != 21 {
		t.Errorf("%d examples", len(examples))
	}
}

func TestBill(t *testing.T) {
	want := strings.TrimPrefix(`
Expected in 30 days: 100 sockets of each of 100 objects, always open; 1 message from each in 1m, handled in 10ms.

Durable Objects

item        quantity   included      billed  unit      price                 cost
base fee           1          0           1  period    $5.00                $5.00
requests  21,610,000  1,000,000  21,000,000  requests  $0.15 per million    $3.15
duration     552,960    400,000   1,000,000  GB-s      $12.50 per million  $12.50
total                                                                      $20.65

The same sockets, without and with hibernation:
                          Accept   AcceptWebSocket
base fee                   $5.00             $5.00
requests                   $3.15             $3.15
duration                 $412.50            $12.50
total                    $420.65            $20.65
`, "\n")
	if got := output(t); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFlags(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.json")
	plan := `{"name": "Own", "base": 20, "connected_time": {"price": 0.01, "per": 3600}, "messages": {"included": 100, "price": "2.50", "per": 1000}}`
	if err := os.WriteFile(own, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	units := filepath.Join(t.TempDir(), "units.json")
	if err := os.WriteFile(units, []byte(`{"name": "Units", "message_unit": 4, "messages": {"price": 1, "per": 1000}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ args, want string }{
		{"-hibernate=false", "$420.65\n"},
		{"-example G4-2 -plan durable-objects-2024", "$138.65\n"},
		{"-plan durable-objects-2024 -example G4-2", "$138.65\n"}, // in any order
		{"-hours 8 -sockets 50 -hibernate=false", "$142.95\n"},
		{"-sockets 50 -example G4-4 -hours 8 -hibernate=false", "$142.95\n"},
		{"-sockets 1 -messages 60 -hibernate=false", "$419.30\n"},
		{"-messages 1/3", "1 message from each in 3m,"},
		{"-messages 0.5 -hours 7.5", "open 7h30m a day; 1 message from each in 2m,"},
		{"-messages 0 -handler 0", "0 messages from each in 1m, handled in 0s"},
		{"-plan workers-standard", "Hibernating or not costs the same."},
		{"-objects 0 -sockets 7", "7 sockets of plain handlers, always open;"},
		{"-objects 0 -sockets 0 -requests 15000000 -request-time 7ms -plan workers-standard", "$8.00\n"},
		{"-sockets 0 -alarms 720 -alarm-time 3m -plan workers-standard", "720 alarms, handled in 3m.\n"},
		{"-sockets 0", "Expected in 30 days: nothing.\n"},
		{"-objects 1 -sockets 2 -days 1 -messages 1 -replies 1 -plan " + own, "$34.63\n"}, // 20 + 48 hours + 5,660 messages
		{"-list", "workers-bundled "},
		{"-reads 2 -writes 1 -deletes 1 -entry-size 9000 -stored 50000000",
			"; 2 reads, 1 write and 1 delete of 9000 bytes for each message, request and alarm; 50000000 bytes stored in each object.\n"},
		{"-writes 1 -entry-size 9000 -plan durable-objects-kv", "$1315.65\n"}, // 432 million writes of 3 units
		{"-objects 0 -sockets 0 -stored 5000000", "5000000 bytes stored in all.\n"},
		{"-objects 1 -sockets 2 -days 1 -messages 1 -replies 1 -size 5 -plan " + units, "$11.52\n"}, // 5,760 messages of 2 units
		{"-list", "W6    $46.10   100 million requests of 200 ms"},
	} {
		if got := output(t, strings.Fields(test.args)...); !strings.Contains(got, test.want) {
			t.Errorf("%s: %q is not in\n%s", test.args, test.want, got)
		}
	}
}

func TestJSON(t *testing.T) {
	var b edgews.Bill
	if err := json.Unmarshal([]byte(output(t, "-json", "-example", "G3-3")), &b); err != nil {
		t.Fatal(err)
	}
	if b.Total != 416_514_015_000 || len(b.Lines) != 3 {
		t.Errorf("%+v", b)
	}
}

func TestErrors(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"name": "bad", "bases": 20}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"-plan free":         "use durable-objects, ",
		"-plan missing.json": "missing.json",
		"-plan " + bad:       `unknown field "bases"`,
		"-example G9":        "use G4-1, ",
		"-objects -1":        "want a whole number",
		"-days 0":            "want a day at least",
		"-sockets 1.5":       "want a whole number",
		"-hours 0":           "want hours",
		"-hours 25":          "want hours",
		"-messages x":        "want messages a minute",
		"-messages -1":       "want messages a minute",
		"-messages 1e-30":    "want messages a minute",
		"-handler 10":        "want a time",
		"-handler -1s":       "want a time",
		"-hibernate=perhaps": "-hibernate",
		"-speed 1":           "-speed",
		"G4-4":               "is not a flag",
	} {
		var out strings.Builder
		err := run(strings.Fields(args), &out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
		if out.Len() > 0 {
			t.Errorf("%s printed\n%s", args, &out)
		}
	}

	var out strings.Builder
	if err := run([]string{"-help"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "-minute-floor bytes") {
		t.Errorf("-help: %v, and\n%s", err, &out)
	}
}
