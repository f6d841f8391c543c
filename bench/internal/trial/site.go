// Package trial measures tunnels: it builds and starts them as real processes,
// sends users through them in interleaved rounds, and fills a report.
package trial

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/tunnelpool/pool/bench/internal/proc"
	"github.com/tunnelpool/pool/bench/internal/traffic"
)

// site is one machine of the trial: this one, or a network namespace.
type site struct {
	addr  string // where the other site reaches it
	start func(*exec.Cmd) error
}

func here() site {
	return site{addr: "127.0.0.1", start: (*exec.Cmd).Start}
}

// network is where a section's figures come from. Users and the tunnel's server
// are near, the tunnel's client and the target are far.
type network struct {
	title     string
	roundTrip time.Duration
	near, far site
	lose      func(share float64) error // nil where packets are not lost
	close     func()
}

func loopback() (*network, error) {
	return &network{title: "Loopback", near: here(), far: here(), close: func() {}}, nil
}

// The roles of this program's own processes, as their first argument.
const (
	roleTarget    = "run-target"
	roleLoad      = "run-load"
	roleMuxServer = "run-mux-server"
	roleMuxClient = "run-mux-client"
)

var roles = []string{roleTarget, roleLoad, roleMuxServer, roleMuxClient}

// listeningOn is what a role prints when it serves, in front of the address.
const listeningOn = "listening on "

var listening = regexp.MustCompile(`^` + listeningOn + `(\S+)$`)

// self starts this program again in a role.
func (s site) self(args ...string) (*proc.Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return proc.Start(args[0], exec.Command(exe, args...), s.start)
}

// target starts a target at an address of the site; it tells which port it got.
func (s site) target(addr string) (p *proc.Process, address string, err error) {
	if p, err = s.self(roleTarget, addr+":0"); err != nil {
		return nil, "", err
	}
	found, err := p.Ready(listening)
	if err != nil {
		p.Stop()
		return nil, "", err
	}
	return p, found[1], nil
}

var anyReport = regexp.MustCompile(`^\{.*\}$`)

// work is a load that runs.
type work struct {
	process *proc.Process
	line    int
	limit   time.Duration
}

func (s site) load(l traffic.Load) (*work, error) {
	spec, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	p, err := s.self(roleLoad, string(spec))
	if err != nil {
		return nil, err
	}
	return &work{process: p, limit: l.Warmup + l.Duration + 2*time.Minute}, nil
}

// next waits for the load's next report.
func (w *work) next() (traffic.Report, error) {
	var r traffic.Report
	found, line, err := w.process.Await(w.line, anyReport, w.limit)
	if err != nil {
		return r, err
	}
	w.line = line
	if err := json.Unmarshal([]byte(found[0]), &r); err != nil {
		return r, fmt.Errorf("report of the load: %w", err)
	}
	return r, nil
}

// stop ends the load, and the users that it holds.
func (w *work) stop() { w.process.Stop() }
