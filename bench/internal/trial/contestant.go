package trial

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	pool "github.com/tunnelpool/pool"

	"github.com/tunnelpool/pool/bench/internal/proc"
	"github.com/tunnelpool/pool/bench/internal/traffic"
)

// Contestant is a way from users to a target.
type Contestant struct {
	Name  string
	pools bool // it has idle connections to count
	start func(n *network, r *rig, extra settings) error
}

// settings are changes of a tunnelpool's defaults.
type settings struct{ server, client []string }

// Direct is no tunnel at all.
func Direct() Contestant {
	return Contestant{Name: "direct", start: func(n *network, r *rig, _ settings) (err error) {
		r.target, r.address, err = n.far.target(n.far.addr)
		return err
	}}
}

// Tunnelpool is the pair of programs in dir with a TLS mode and else default
// settings. scratch is where the two keep their state.
func Tunnelpool(name, dir, mode, scratch string) Contestant {
	return Contestant{Name: name, pools: true, start: func(n *network, r *rig, extra settings) error {
		var address string
		var err error
		if r.target, address, err = n.far.target("127.0.0.1"); err != nil {
			return err
		}
		key := pool.NewKey().Text()
		run := func(s site, program string, args []string) (*proc.Process, error) {
			state, err := os.MkdirTemp(scratch, program)
			if err != nil {
				return nil, err
			}
			c := exec.Command(filepath.Join(dir, program), args...)
			c.Env = append(os.Environ(), "STATE_DIRECTORY="+state, "TUNNEL_KEY="+key)
			p, err := proc.Start(program, c, s.start)
			if err == nil {
				r.tunnel = append(r.tunnel, p)
			}
			return p, err
		}
		server, err := run(n.near, "tunnel-server", slices.Concat(
			[]string{"--listen", n.near.addr + ":0", "--bind", "127.0.0.1", "--tls", mode}, extra.server))
		if err != nil {
			return err
		}
		listens, err := server.Ready(serverListens)
		if err != nil {
			return err
		}
		client, err := run(n.far, "tunnel-client", slices.Concat(
			[]string{"--server", listens[1], "-R", "0:" + address, "--tls", mode}, extra.client))
		if err != nil {
			return err
		}
		up, err := client.Ready(serviceIsUp)
		if err != nil {
			return err
		}
		r.address = up[1]
		return nil
	}}
}

var (
	serverListens = regexp.MustCompile(`tunnel-server .* listens on (\S+), TLS mode`)
	serviceIsUp   = regexp.MustCompile(`Service .* is up: (\S+) leads to`)
)

// Mux is one TLS connection with yamux in it.
func Mux() Contestant {
	return Contestant{Name: "yamux TLS", start: func(n *network, r *rig, _ settings) error {
		var address string
		var err error
		if r.target, address, err = n.far.target("127.0.0.1"); err != nil {
			return err
		}
		server, err := n.near.self(roleMuxServer, n.near.addr+":0", "127.0.0.1:0")
		if err != nil {
			return err
		}
		r.tunnel = append(r.tunnel, server)
		tunnel, next, err := server.Await(0, listening, traffic.Patience)
		if err != nil {
			return err
		}
		public, _, err := server.Await(next, listening, traffic.Patience)
		if err != nil {
			return err
		}
		r.address = public[1]
		client, err := n.far.self(roleMuxClient, tunnel[1], address)
		if err == nil {
			r.tunnel = append(r.tunnel, client)
		}
		return err
	}}
}

// rig is a contestant that runs.
type rig struct {
	name    string
	network *network
	address string // where users connect
	target  *proc.Process
	tunnel  []*proc.Process // server and client; none when direct
}

func (c Contestant) rig(n *network, extra settings) (*rig, error) {
	r := &rig{name: c.Name, network: n}
	err := c.start(n, r, extra)
	if err == nil {
		_, err = r.run(traffic.Load{Kind: traffic.Operations, Users: 1, Workers: 1})
	}
	if err != nil {
		r.stop()
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return r, nil
}

func (r *rig) stop() {
	for _, p := range r.tunnel {
		p.Stop()
	}
	if r.target != nil {
		r.target.Stop()
	}
}

// result is what a load met, and what it took of the tunnel.
type result struct {
	traffic.Outcome
	cpu      time.Duration
	cpuKnown bool
}

// run sends a load through and waits for its end.
func (r *rig) run(l traffic.Load) (result, error) {
	w, err := r.begin(l)
	if err != nil {
		return result{}, err
	}
	defer w.stop()
	return w.end()
}

// begun is a load of which the warm-up is over.
type begun struct {
	*work
	rig      *rig
	cpu      time.Duration
	cpuKnown bool
}

func (r *rig) begin(l traffic.Load) (*begun, error) {
	l.Address = r.address
	w, err := r.network.near.load(l)
	if err != nil {
		return nil, err
	}
	if _, err := w.next(); err != nil {
		w.stop()
		return nil, err
	}
	b := &begun{work: w, rig: r}
	b.cpu, b.cpuKnown = r.cpu()
	return b, nil
}

func (b *begun) end() (result, error) {
	report, err := b.next()
	if err != nil {
		return result{}, err
	}
	if report.Outcome == nil {
		return result{}, fmt.Errorf("the load reported no outcome")
	}
	now, known := b.rig.cpu()
	return result{*report.Outcome, now - b.cpu, known && b.cpuKnown}, nil
}

// cpu is the processor time of both ends of the tunnel so far.
func (r *rig) cpu() (sum time.Duration, known bool) {
	for _, p := range r.tunnel {
		t, err := p.CPU()
		if err != nil {
			return 0, false
		}
		sum += t
	}
	return sum, len(r.tunnel) > 0
}

// memory is what both ends of the tunnel occupy.
func (r *rig) memory() (sum proc.Memory, err error) {
	for _, p := range r.tunnel {
		m, err := p.Memory()
		if err != nil {
			return sum, err
		}
		sum.RSS += m.RSS
		sum.PSS += m.PSS
	}
	return sum, nil
}
