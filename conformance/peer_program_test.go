package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Live peers: other implementations, run as programs. CI installs what they need (see .ci/run), tests never do. Tests are skipped where
// it is missing, and fail with CI=true, so that CI cannot silently test less.

// missing skips or fails t.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("missing, and CI must have it: %s", what)
	}
	t.Skipf("missing: %s", what)
}

// program is a WebSocket implementation with a client and a server script.
type program struct {
	name    string
	command []string // before the script
	ext     string   // of the scripts
	check   []string // a command that fails if something is missing
	install string   // the command that installs it
	params  func(deflateParams) any
	minBits int // the smallest window, in bits, with which it can compress
}

var programs = []program{
	{
		name: "node", command: []string{"node"}, ext: ".js",
		check:   []string{"node", "-e", "console.log(process.version, require('./testdata/peers/node/node_modules/ws/package.json').version)"},
		install: "node with the package ws: npm ci --prefix conformance/testdata/peers/node",
		params:  deflateParams.node,
		minBits: 8,
	},
	{
		name: "python", command: []string{"/usr/bin/python3", "-B"}, ext: ".py",
		check:   []string{"/usr/bin/python3", "-c", "import sys, websockets; print(sys.version.split()[0], websockets.__version__)"},
		install: "/usr/bin/python3 with the package websockets: apt-get install python3-websockets",
		params:  deflateParams.python,
		minBits: 9, // zlib.compressobj refuses 8 for raw deflate
	},
}

// eachProgram runs test with each program.
func eachProgram(t *testing.T, test func(t *testing.T, p program)) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			versions, err := exec.Command(p.check[0], p.check[1:]...).Output()
			if err != nil {
				missing(t, p.install)
			}
			t.Logf("%s %s", p.name, bytes.TrimSpace(versions))
			test(t, p)
		})
	}
}

func (p program) script(t *testing.T, role string) *exec.Cmd {
	file := filepath.Join("testdata", "peers", p.name, role+p.ext)
	cmd := exec.CommandContext(t.Context(), p.command[0], append(p.command[1:], file)...)
	cmd.Stderr = t.Output()
	cmd.WaitDelay = time.Second
	return cmd
}

// peerScenario and peerStep are the input of the client scripts.
type peerScenario struct {
	URL       string     `json:"url"`
	Protocols []string   `json:"protocols,omitempty"`
	Deflate   any        `json:"deflate"`
	Steps     []peerStep `json:"steps"`
}

type peerStep struct {
	Echo      string  `json:"echo,omitempty"`
	Size      int     `json:"size,omitempty"`
	Fragments int     `json:"fragments,omitempty"`
	Say       string  `json:"say,omitempty"`
	Answer    string  `json:"answer,omitempty"`
	Ping      *string `json:"ping,omitempty"`
	Close     *int    `json:"close,omitempty"`
	Reason    string  `json:"reason,omitempty"`
}

type peerResult struct {
	Extensions, Protocol, Reason, Error string
	Code                                int
}

// play runs the scenarios with the client script.
func (p program) play(t *testing.T, scenarios []peerScenario) []peerResult {
	input, err := json.Marshal(scenarios)
	require.NoError(t, err)
	cmd := p.script(t, "client")
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.Output()
	require.NoError(t, err)
	var results []peerResult
	require.NoError(t, json.Unmarshal(output, &results))
	require.Len(t, results, len(scenarios))
	return results
}

// serve starts the server script with one server per set of options, and returns their URLs.
func (p program) serve(t *testing.T, options []any) (urls []string) {
	cmd := p.script(t, "server")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		in.Close() // ends the script
		_ = cmd.Wait()
	})
	require.NoError(t, json.NewEncoder(in).Encode(options))
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(t, err)
	var ports []json.Number
	require.NoError(t, json.Unmarshal(line, &ports))
	for _, port := range ports {
		urls = append(urls, "ws://127.0.0.1:"+port.String()+"/")
	}
	return urls
}

// peerPayload is the payload of the scripts.
func peerPayload(text bool, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
		if text {
			b[i] = 'a' + b[i]%26
		}
	}
	return b
}
