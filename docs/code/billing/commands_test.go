package billing_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var session = regexp.MustCompile("(?ms)^```sh\n([^\n]+)\n```\n+```text\n(.*?)^```$")

// TestCommands runs the commands of the guide whose output stands below them, and compares it.
func TestCommands(t *testing.T) {
	guide, err := os.ReadFile(filepath.FromSlash("../../billing.md"))
	require.NoError(t, err)
	sessions := session.FindAllStringSubmatch(strings.ReplaceAll(string(guide), "\r\n", "\n"), -1)
	require.Len(t, sessions, 2)
	for _, s := range sessions {
		args := strings.Fields(s[1])
		if args[0] == "edgews" { // it need not be installed
			args = append([]string{"go", "run", "./cmd/edgews"}, args[1:]...)
		}
		command := exec.CommandContext(t.Context(), args[0], args[1:]...)
		command.Dir = filepath.FromSlash("../../..")
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, s[2], string(out), s[1])
	}
}
