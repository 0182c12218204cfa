package conformance_test

import (
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// verdict is how a scenario came out.
type verdict int

const (
	identical verdict = iota
	deviating
	listed
)

// TestOracle replays what the real runtime was seen to do, and compares.
func TestOracle(t *testing.T) {
	silenceLogs(t)
	count := make(map[verdict]int)
	used := make(map[int]int) // how many scenarios needed a deviation
	var mu sync.Mutex         // guards both
	for _, group := range groups {
		for _, s := range loadScenarios(t, group) {
			if reason := listedBecause(s.ID); reason != "" {
				count[listed]++
				continue
			}
			t.Run(s.ID, func(t *testing.T) {
				if s.overNetwork() { // later, and together: they mostly wait to see that nothing else comes
					t.Parallel()
				}
				came, needed := replay(t, s)
				mu.Lock()
				defer mu.Unlock()
				count[came]++
				for _, i := range needed {
					used[i]++
				}
			})
		}
	}
	t.Cleanup(func() { // when all have been replayed
		if count[identical]+count[deviating]+count[listed] == scenarios {
			for i := range deviations {
				assert.True(t, used[i] > 0 || t.Failed(), "deviation is not needed by any scenario: %s", deviations[i].what)
			}
		}
		t.Logf("%d replayed identically, %d with deviations, %d listed", count[identical], count[deviating], count[listed])
		logLicences(t, used)
	})
}

// logLicences says how many scenarios deviate by which of the ten. Some do by several.
func logLicences(t *testing.T, used map[int]int) {
	byLicence := make(map[licence]int)
	for i, n := range used {
		byLicence[deviations[i].by] += n
	}
	for l, text := range licences {
		if n := byLicence[licence(l)]; n > 0 {
			t.Logf("deviation %2d: %3d times: %s", l, n, text)
		}
	}
}

// groups are the files of scenarios.
var groups = []string{"a", "b", "c", "d"}

// scenarios is how many there are in all of them.
const scenarios = 466

// TestOracleIsComplete: every scenario is replayed or listed, and listed once.
func TestOracleIsComplete(t *testing.T) {
	known := make(map[string]bool)
	for _, group := range groups {
		for _, s := range loadScenarios(t, group) {
			known[s.ID] = true
		}
	}
	require.Len(t, known, scenarios)
	for id := range javascriptOnly {
		require.True(t, known[id], "%s is listed and unknown", id)
		require.NotContains(t, notYet, id)
	}
	for id := range notYet {
		require.True(t, known[id], "%s is listed and unknown", id)
	}
	for _, id := range slices.Concat(keys(objectQuirks), keys(objectScripts), keys(fetchHandlers)) {
		require.True(t, known[id], "%s is unknown", id)
		require.Empty(t, listedBecause(id), "%s is played and listed", id)
	}
	for i := range deviations {
		for _, id := range deviations[i].named() {
			require.True(t, known[id], "%s deviates and is unknown", id)
			require.Empty(t, listedBecause(id), "%s deviates and is listed", id)
		}
	}
}

func keys[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }

// silenceLogs: panics in listeners are part of the scenarios.
func silenceLogs(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(before) })
}

func listedBecause(id string) string { return javascriptOnly[id] + notYet[id] }

// replay plays one scenario, and compares what happens with what was recorded. It returns how it came out, and which deviations
// made a difference.
func replay(t *testing.T, s *scenario) (came verdict, applied []int) {
	recorded := expect(s)
	require.NotEmpty(t, recorded, "nothing to compare")
	want, applied := deviate(s, recorded, -1)
	rec := newRecorder()
	got := play(t, s, want, rec)
	if diff := want.differences(got) + want.disorder(s, got, rec); diff != "" {
		t.Errorf("%s\n%s", s.Title, diff)
		return deviating, nil
	}
	for i := range deviations {
		needed := false
		if slices.Contains(applied, i) {
			without, _ := deviate(s, recorded, i)
			needed = without.differences(got) != ""
		}
		if !needed && (slices.Contains(applied, i) || slices.Contains(deviations[i].named(), s.ID)) {
			t.Errorf("deviation is not needed: %s", deviations[i].what)
		}
	}
	if len(applied) == 0 {
		return identical, nil
	}
	return deviating, applied
}

// overNetwork says whether the scenario has real connections. The others run in a bubble, on one processor.
func (s *scenario) overNetwork() bool {
	switch s.group() {
	case "a":
		return fetchHandlers[s.ID] != nil
	case "d":
		return s.does("connect")
	}
	return true
}

// deviate applies every deviation to what was recorded, except for one, and returns which made a difference.
func deviate(s *scenario, recorded transcript, except int) (want transcript, applied []int) {
	want = recorded.clone()
	for i := range deviations {
		d := &deviations[i]
		if i == except || !d.covers(s.ID) {
			continue
		}
		before := want.clone()
		d.change(want)
		if !want.equal(before) {
			applied = append(applied, i)
		}
	}
	return want, applied
}

func expect(s *scenario) transcript {
	switch s.group() {
	case "a":
		if fetchHandlers[s.ID] != nil {
			return expectFetched(s)
		}
		return expectPair(s)
	case "b":
		return expectServer(s)
	case "c":
		return expectOutbound(s)
	case "d":
		return expectObject(s)
	}
	return nil
}

// play replays s.
func play(t *testing.T, s *scenario, want transcript, rec *recorder) map[string][]string {
	switch s.group() {
	case "a":
		if fetchHandlers[s.ID] != nil {
			return playFetched(t, s, want, rec)
		}
		// One processor: what a scenario does in one turn is over before a delivering goroutine begins, as in JavaScript.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		return playPair(t, s, rec)
	case "b":
		return playServer(t, s, want, rec)
	case "c":
		return playOutbound(t, s, want, rec)
	case "d":
		if s.does("connect") {
			return playObject(t, s, want, rec)
		}
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		return playBubble(t, s, want, rec)
	}
	require.Fail(t, "no player")
	return nil
}
