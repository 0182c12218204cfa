package enginetest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/edgews/edgews/cluster"
	"github.com/edgews/edgews/cluster/enginetest"
)

func newCluster(fault string) func(t *testing.T) enginetest.Connect {
	return func(*testing.T) enginetest.Connect {
		n := newNaive(fault)
		return func(*testing.T) cluster.Engine { return n.connect() }
	}
}

func TestNaiveEngine(t *testing.T) {
	enginetest.Run(t, newCluster(""))
}

// faultEnv is the fault of the engine in TestFaulty.
const faultEnv = "EDGEWS_ENGINETEST_FAULT"

func TestFaulty(t *testing.T) {
	fault := os.Getenv(faultEnv)
	if fault == "" {
		t.Skip("TestFaultsAreFound runs it in a process of its own")
	}
	enginetest.SetPatience(time.Second)
	enginetest.Run(t, newCluster(fault))
}

// Each fault of an engine is found by the test that is named beside it.
func TestFaultsAreFound(t *testing.T) {
	for fault, by := range map[string]string{
		"takes every configuration":               "the first configuration stays",
		"lets another incarnation join":           "another incarnation cannot join",
		"reads before it writes":                  "one of several processes joins",
		"lets others than members renew":          "only members renew",
		"reads before it renews":                  "a member is either renewed or removed",
		"lets late renewals replace newer ones":   "a late renewal changes nothing",
		"removes any beat":                        "Remove looks at the beat",
		"removes any incarnation":                 "Remove looks at the incarnation",
		"takes claims from any epoch":             "a claim from another epoch conflicts",
		"does not say who was first":              "a claim from another epoch conflicts",
		"reads before it claims":                  "one of several claims succeeds",
		"forgets the generation":                  "epochs grow from the generation's first",
		"keeps the epoch of the same owner":       "epochs grow from the generation's first",
		"forgets incarnations":                    "epochs grow from the generation's first",
		"has more shards":                         "there is no other shard",
		"does not show what has gone":             "Watch shows what there is, and then what changes",
		"syncs before it shows":                   "Watch has shown what was acknowledged before it began",
		"forgets what happens during a sync":      "changes during the beginning of a Watch are not lost",
		"shows owners before members":             "a record is not shown before the member that it names",
		"shows an older record again":             "random calls give the same results as maps",
		"has no fence":                            "a new owner fences the one before, on another connection too",
		"ignores the shards of alarms":            "alarms by shard",
		"limits alarms before it looks at shards": "alarms by shard",
		"ignores contexts":                        "no call begins after its context has ended",
		"ignores Close":                           "every call fails after Close",
	} {
		t.Run(fault, func(t *testing.T) {
			if testing.Short() && fault != "takes claims from any epoch" {
				t.Skip("one fault is enough with -short")
			}
			by = strings.ReplaceAll(by, " ", "_")
			var output string
			for try := 0; try < 5 && !strings.Contains(output, "FAIL: TestFaulty/"+by); try++ { // some faults show by chance only
				cmd := exec.Command(os.Args[0], "-test.run=^TestFaulty$/^"+by+"$", "-test.count=1", "-test.timeout=1m")
				cmd.Env = append(os.Environ(), faultEnv+"="+fault)
				out, _ := cmd.CombinedOutput()
				output = string(out)
			}
			assert.Contains(t, output, "FAIL: TestFaulty/"+by)
		})
	}
}
