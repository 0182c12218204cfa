package storetest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/edgews/edgews"
	"github.com/edgews/edgews/storetest"
	"github.com/stretchr/testify/assert"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) edgews.Store { return edgews.NewMemoryStore() })
}

func TestNaiveStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) edgews.Store { return newNaive("") })
}

func TestNaiveStoreIsDurable(t *testing.T) {
	storetest.RunDurable(t, func(t *testing.T, dir string) edgews.Store { return openNaive(t, dir, "") })
}

func openFull(t *testing.T, dir, fault string) edgews.Store {
	s := openNaive(t, dir, fault)
	s.room = 2 << 20
	return s
}

func TestNaiveStoreIsFull(t *testing.T) {
	storetest.RunFull(t, func(t *testing.T, dir string) edgews.Store { return openFull(t, dir, "") })
}

// faultEnv names the fault of TestFaulty's engine.
const faultEnv = "EDGEWS_STORETEST_FAULT"

func TestFaulty(t *testing.T) {
	fault := os.Getenv(faultEnv)
	if fault == "" {
		t.Skip("is for TestFaultsAreFound")
	}
	storetest.Run(t, func(*testing.T) edgews.Store { return newNaive(fault) })
	storetest.RunDurable(t, func(t *testing.T, dir string) edgews.Store { return openNaive(t, dir, fault) })
	storetest.RunFull(t, func(t *testing.T, dir string) edgews.Store { return openFull(t, dir, fault) })
}

// Who passes has none of these faults.
func TestFaultsAreFound(t *testing.T) {
	for fault, by := range map[string]string{
		"gives its bytes away":               "values belong to who has them",
		"keeps what it is given":             "values belong to who has them",
		"lists in no order":                  "List is in key order and within its prefix",
		"lists what is there now":            "List shows one moment",
		"thinks that no byte is beyond 0xfe": "List is in key order and within its prefix",
		"deletes the alarm too":              "an alarm stays while entries come and go",
		"deletes last":                       "a batch has an order",
		"is seen at work":                    "readers see all of a commit or nothing",
		"mixes namespaces up":                "objects have nothing to do with each other",
		"does not remove alarms":             "an alarm is removed",
		"is early":                           "an alarm is never early",
		"is late":                            "an alarm is due from its time on",
		"shows alarms in no order":           "alarms of any time, the earliest first",
		"knows no limit":                     "no more alarms than asked for",
		"opens whatever comes":               "an older epoch is not opened",
		"lets the fenced commit":             "a newer epoch fences an older one off",
		"does not mind contexts":             "nothing begins after its context has ended",
		"fails when it has happened":         "a commit happens or fails, also when its context ends meanwhile",
		"does not mind Close":                "nothing happens after Close",
		"writes nothing":                     "entries and alarms are there again",
		"forgets fences":                     "a fence is there again",
		"writes later":                       "what was acknowledged survives a kill",
		"acknowledges what does not fit":     "a full store acknowledges nothing that is not there",
	} {
		t.Run(fault, func(t *testing.T) {
			if testing.Short() && fault != "lets the fenced commit" {
				t.Skip("one will do")
			}
			by = strings.ReplaceAll(by, " ", "_")
			var output string
			for try := 0; try < 5 && !strings.Contains(output, "FAIL: TestFaulty/"+by); try++ { // some show by chance only
				cmd := exec.Command(os.Args[0], "-test.run=^TestFaulty$/^"+by+"$", "-test.count=1", "-test.timeout=1m")
				cmd.Env = append(os.Environ(), faultEnv+"="+fault)
				out, _ := cmd.CombinedOutput()
				output = string(out)
			}
			assert.Contains(t, output, "FAIL: TestFaulty/"+by)
		})
	}
}
