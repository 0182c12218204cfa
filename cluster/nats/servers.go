package edgewsnats

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// minVersion is the first version of the server that commits with one fsync when sync_interval is "always", and whose atomic batches are
// used here.
var minVersion = [2]int{2, 15}

// checkServers returns ErrServer if the servers cannot be used, and logs what is unsafe.
func (e *Engine) checkServers(ctx context.Context) error {
	if v := e.nc.ConnectedServerVersion(); !isNewEnough(v) {
		return fmt.Errorf("%w: the server has version %q; at least %d.%d is needed", ErrServer, v, minVersion[0], minVersion[1])
	}
	if most := e.nc.MaxPayload(); most < minPayload {
		return fmt.Errorf("%w: max_payload is %d; at least %d is needed", ErrServer, most, minPayload)
	}
	if e.o.UnsafeReplicas < safeReplicas {
		e.o.Logger.Warn("edgews: NATS streams have too few copies; the loss of one server loses objects", "replicas", e.o.UnsafeReplicas)
	}
	if e.o.System == nil {
		e.o.Logger.Warn("edgews: not known whether the NATS servers have sync_interval \"always\", for want of Options.System; " +
			"without it they acknowledge what a power failure loses")
		return nil
	}
	return e.checkSync(ctx)
}

func isNewEnough(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	return errA == nil && errB == nil && (a > minVersion[0] || a == minVersion[0] && b >= minVersion[1])
}

// serverReport is what is read of the answer of a server to the system account.
type serverReport struct {
	Server struct {
		Name string `json:"name"`
		Ver  string `json:"ver"`
	} `json:"server"`
	Data struct {
		JetStream struct {
			Config *struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		} `json:"jetstream"`
	} `json:"data"`
}

// quiet is how long checkSync waits for another answer: it does not know how many servers there are.
const quiet = 500 * time.Millisecond

// checkSync asks all servers for their version and whether they write to the disk before they acknowledge.
func (e *Engine) checkSync(ctx context.Context) error {
	inbox := nats.NewInbox()
	answers, err := e.o.System.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("edgews: asking the NATS servers: %w", err)
	}
	defer answers.Unsubscribe()
	if err := e.o.System.PublishRequest("$SYS.REQ.SERVER.PING.VARZ", inbox, nil); err != nil {
		return fmt.Errorf("edgews: asking the NATS servers: %w", err)
	}
	for heard := 0; ; heard++ {
		wait, cancel := context.WithTimeout(ctx, quiet)
		m, err := answers.NextMsgWithContext(wait)
		cancel()
		var r serverReport
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && heard == 0:
			return fmt.Errorf("%w: no server answers Options.System, which must be a connection with the system account", ErrServer)
		case err != nil:
			return nil
		case json.Unmarshal(m.Data, &r) != nil || r.Data.JetStream.Config == nil:
			continue // a server without JetStream
		case !isNewEnough(r.Server.Ver):
			return fmt.Errorf("%w: server %s has version %q; at least %d.%d is needed", ErrServer, r.Server.Name, r.Server.Ver, minVersion[0], minVersion[1])
		case !r.Data.JetStream.Config.SyncAlways:
			e.o.Logger.Warn("edgews: a NATS server has not sync_interval \"always\": it acknowledges what a power failure loses", "server", r.Server.Name)
		}
	}
}
