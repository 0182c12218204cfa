//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/edgews/edgews/bench/internal/server"
)

// nginxConfig has the directory, the address to listen at and the address of the echo server. It makes one process, without a master.
const nginxConfig = `daemon off; master_process off; pid %[1]s/pid; error_log stderr error;
events { worker_connections 12000; }
http {
	access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s reuseport;
		location / {
			proxy_pass http://%[3]s; proxy_http_version 1.1; proxy_read_timeout 1h; proxy_send_timeout 1h;
			proxy_set_header Host $http_host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
			%[4]s
		}
	}
}
`

// haproxyConfig is the same for haproxy, which writes nothing into the directory and always sets SO_REUSEPORT. Without the flag for a master it is one process.
const haproxyConfig = `# %[1]s
global
	nbthread 1
	maxconn 6000
	%[4]s
defaults
	mode http
	timeout connect 20s
	timeout client 1h
	timeout server 1h
	timeout tunnel 1h
listen bench
	bind %[2]s
	server origin %[3]s
`

// nginx forwards with the buffers of its defaults, of a page each.
func nginx() subject { return proxyProgram("nginx", "-c", nginxConfig, "") }

// nginxTuned has buffers for the largest message.
func nginxTuned() subject {
	s := proxyProgram("nginx", "-c", nginxConfig, "proxy_buffer_size 128k; proxy_buffers 4 128k; proxy_busy_buffers_size 256k;")
	s.Name += " tuned"
	return s
}

// haproxy has the buffers of its defaults, of 16 KiB, which it frees while nothing arrives.
func haproxy() subject { return proxyProgram("haproxy", "-f", haproxyConfig, "") }

// haproxyTuned has buffers for the largest message. Its option splice-auto makes no difference here.
func haproxyTuned() subject {
	s := proxyProgram("haproxy", "-f", haproxyConfig, "tune.bufsize 131072")
	s.Name += " tuned"
	return s
}

// proxyProgram is a proxy that is not written in Go. Its configuration file is made from config, into which the directory, the two addresses
// and setting are inserted.
func proxyProgram(name, flag, config, setting string) subject {
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name // Debian's place, which is not in every PATH
		_, err = os.Stat(path)
	}
	s := subject{Peer: server.Peer{Name: name, Proxy: true}, skip: func(Cell) string { return "" }}
	if err != nil {
		s.missing = name + " is not measured: it is not installed"
	}
	s.version = func() string { return name + " " + programVersion(path) }
	s.command = func(c server.Config) (*exec.Cmd, string, error) {
		file := filepath.Join(c.Dir, "config")
		cmd := exec.Command(path, flag, file)
		cmd.Stderr = os.Stderr
		return cmd, c.Addr, os.WriteFile(file, fmt.Appendf(nil, config, c.Dir, c.Addr, c.Upstream, setting), 0o600)
	}
	return s
}

// programVersion returns the version that a program prints, to standard output or to standard error.
func programVersion(path string) string {
	text, err := exec.Command(path, "-v").CombinedOutput()
	version := versionNumber.Find(text)
	if err != nil || version == nil {
		return "unknown"
	}
	return string(version)
}

var versionNumber = regexp.MustCompile(`\d+\.\d+[^ \n]*`)
