package conformance_test

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replayResult is the result of a replay.
type replayResult int

const (
	identical replayResult = iota
	deviating
	listed
)

// TestOracle replays the traces of the real runtime and compares the results.
func TestOracle(t *testing.T) {
	silenceLogs(t)
	count := make(map[replayResult]int)
	used := make(map[int]int) // number of scenarios that need a deviation, by its index
	var mu sync.Mutex         // guards both
	for _, group := range groups {
		for _, s := range loadScenarios(t, group) {
			if reason := listedBecause(s.ID); reason != "" {
				count[listed]++
				continue
			}
			t.Run(s.ID, func(t *testing.T) {
				if s.overNetwork() { // later and in parallel: they mostly wait to see that no further line comes
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
		logDeviations(t, used)
	})
}

// logDeviations logs the number of scenarios for each deviation of doc.go. Some scenarios have several.
func logDeviations(t *testing.T, used map[int]int) {
	byLicence := make(map[deviationNumber]int)
	for i, n := range used {
		byLicence[deviations[i].by] += n
	}
	for l, text := range deviationTexts {
		if n := byLicence[deviationNumber(l)]; n > 0 {
			t.Logf("deviation %2d: %3d times: %s", l, n, text)
		}
	}
}

// groups are the files of scenarios.
var groups = []string{"a", "b", "c", "d"}

// scenarios is the number of scenarios in all groups.
const scenarios = 466

// TestOracleIsComplete checks that every scenario is either replayed or in one list of skipped ones.
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

// silenceLogs discards logs: scenarios contain panics in listeners.
func silenceLogs(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(before) })
}

func listedBecause(id string) string { return javascriptOnly[id] }

// replay replays one scenario and compares the result with the recording. It returns the result, and the deviations that made a
// difference.
func replay(t *testing.T, s *scenario) (came replayResult, applied []int) {
	recorded := expect(s)
	require.NotEmpty(t, recorded, "nothing to compare")
	want, applied := deviate(s, recorded, -1)
	got, diff := playAndCompare(t, s, want)
	if diff != "" {
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

// playAndCompare plays s and returns what came and how it differs. It plays a scenario in a bubble again if it differs and may have been
// interrupted.
func playAndCompare(t *testing.T, s *scenario, want transcript) (got map[string][]string, diff string) {
	for range playInterrupted {
		rec := newRecorder()
		uninterrupted := true
		if s.overNetwork() {
			got = play(t, s, want, rec)
		} else {
			uninterrupted = playInTurns(func() { got = play(t, s, want, rec) })
		}
		diff = want.differences(got) + want.orderDifferences(s, got, rec)
		if diff == "" || uninterrupted {
			break
		}
		t.Logf("may have been interrupted:\n%s", diff)
	}
	return got, diff
}

// overNetwork reports whether the scenario has real connections. Other scenarios run in a bubble, alone.
func (s *scenario) overNetwork() bool {
	switch s.group() {
	case "a":
		return fetchHandlers[s.ID] != nil
	case "d":
		return s.does("connect")
	}
	return true
}

// deviate applies all deviations but one to the recorded transcript, and returns those that made a difference.
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
		if s.passesThrough() {
			return expectPassThrough(s)
		}
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
		return playPair(t, s, rec)
	case "b":
		return playServer(t, s, want, rec)
	case "c":
		if s.passesThrough() {
			return playPassThrough(t, s, want, rec)
		}
		return playOutbound(t, s, want, rec)
	case "d":
		if s.does("connect") {
			return playObject(t, s, want, rec)
		}
		return playBubble(t, s, want, rec)
	}
	require.Fail(t, "no player")
	return nil
}
