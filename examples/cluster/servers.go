package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serversConfig is what the process of the NATS servers is told.
type serversConfig struct{}

// serversReport says that the servers can be used.
type serversReport struct {
	URLs   []string // with the password of the nodes
	System string   // the URL for the system account
	Dir    string   // the folder with the files
}

// natsConfig is the configuration of a server. sync_interval has it write to the disk before it acknowledges, as it should in production.
// There the three servers are on three machines.
const natsConfig = `
server_name: nats%[1]d
listen: "127.0.0.1:-1"
jetstream { store_dir: %[2]q, sync_interval: always }
accounts {
	SYS: { users: [{user: sys, password: %[3]q}] }
	APP: { jetstream: enabled, users: [{user: app, password: %[3]q}] }
}
system_account: SYS
cluster {
	name: edgews, listen: "127.0.0.1:%[4]d", routes: [%[5]s]
	authorization { user: route, password: %[3]q }
}
`

// serversStartLimit is how long the servers may take until they have elected a leader, which takes a second or two on an idle machine.
const serversStartLimit = time.Minute

// beServers runs three NATS servers until in ends. Their files are in a temporary folder, which is removed at the end, also when the
// supervisor was killed.
func beServers(in *bufio.Reader) error {
	if err := readConfig(in, new(serversConfig)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "edgews-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, in)
		close(ended)
	}()
	password := rand.Text()
	servers, err := startServers(dir, password)
	defer stopServers(servers)
	if err == nil {
		err = awaitLeader(servers, ended)
	}
	if err != nil {
		return err
	}
	ready := serversReport{Dir: dir, System: natsURL(servers[0], "sys", password)}
	for _, s := range servers {
		ready.URLs = append(ready.URLs, natsURL(s, "app", password))
	}
	if err := report(ready); err != nil {
		return nil // the supervisor has ended
	}
	<-ended
	return nil
}

func natsURL(s *server.Server, user, password string) string {
	return fmt.Sprintf("nats://%s:%s@%s", user, password, s.Addr())
}

func startServers(dir, password string) (servers []*server.Server, err error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	var routes []string
	for _, port := range ports {
		routes = append(routes, fmt.Sprintf("\"nats://route:%s@127.0.0.1:%d\"", password, port))
	}
	for i, port := range ports {
		o := &server.Options{NoSigs: true, NoLog: true}
		config := fmt.Sprintf(natsConfig, i+1, filepath.Join(dir, fmt.Sprint(i+1)), password, port, strings.Join(routes, ", "))
		if err := o.ProcessConfigString(config); err != nil {
			return servers, err
		}
		s, err := server.NewServer(o)
		if err != nil {
			return servers, err
		}
		s.Start()
		servers = append(servers, s)
	}
	return servers, nil
}

// freePorts returns ports at which nothing listens. The servers must know each other's before they start.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// awaitLeader waits until the servers form a cluster.
func awaitLeader(servers []*server.Server, ended <-chan struct{}) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	limit := time.After(serversStartLimit)
	for {
		select {
		case <-poll.C:
		case <-ended:
			return errors.New("the supervisor has ended")
		case <-limit:
			return fmt.Errorf("the NATS servers have no leader after %v", serversStartLimit)
		}
		ready := false
		for _, s := range servers {
			ready = ready || s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers)
		}
		for _, s := range servers {
			ready = ready && s.JetStreamIsCurrent()
		}
		if ready {
			return nil
		}
	}
}

func stopServers(servers []*server.Server) {
	for _, s := range servers {
		s.Shutdown()
		s.WaitForShutdown()
	}
}
