package edgews_test

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxInitBytes is what a package may allocate when a program starts: error values and pools, but no tables.
const maxInitBytes = 4 << 10

// TestImportDoesNoWork reads what the runtime says about the initialisation of the packages of the library in a process of its own.
func TestImportDoesNoWork(t *testing.T) {
	switch {
	case raceEnabled:
		t.Skip("the race detector allocates")
	case testing.Short():
		t.Skip("an emulator may be unable to start a second process")
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	command.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	line := regexp.MustCompile(`(?m)^init (github\.com/edgews/edgews(?:/internal/[\w/]+)?) @.* (\d+) bytes, \d+ allocs$`)
	found := line.FindAllSubmatch(output, -1)
	require.NotEmpty(t, found, "%s", output)
	for _, m := range found {
		allocated, err := strconv.Atoi(string(m[2]))
		require.NoError(t, err)
		t.Logf("%s allocates %d bytes", m[1], allocated)
		assert.LessOrEqual(t, allocated, maxInitBytes, "%s", m[1])
	}
}
