//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
)

const (
	// heartbeat makes a lost control connection known after three of it.
	heartbeat = time.Second

	// poolMax bounds what may lie idle, and with it what a run may leave open.
	poolMin, poolMax = 16, 64

	// wait holds users for longer than by default, since one fault may follow the
	// other.
	wait = 30 * time.Second

	// oneWay is the simulated delay between the programs.
	oneWay = 2 * time.Millisecond
)

// probes is the range of those numbers, which no other user has.
const probes = 1 << 63

// site is a tunnel between two processes: the programs, the link between them,
// and the addresses that users come to. Both services lead to targets of the
// run.
type site struct {
	server, client *program
	link           *faults.Link // nil when they are next to each other
	public         [2]string

	targets [2]*target // the second speaks first
	books   *books
	weather *weather
	probe   atomic.Uint64 // numbers of the requests that look whether a fault is over

	mu     sync.Mutex
	failed error // a process that ended by itself
	series map[*process]*series
}

// newSite starts both programs, which are built in bin, in a new directory dir.
// With far they are a link apart, which may break, and the pool is small. The
// caller closes the site.
func newSite(bin, dir, tlsMode string, far bool, targets [2]string) (s *site, err error) {
	s = &site{weather: new(weather), series: make(map[*process]*series)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, err
	}
	var ports [3]string
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return s, err
		}
	}
	server := net.JoinHostPort("127.0.0.1", ports[0])
	to, args := server, []string{"--tls", tlsMode, "--heartbeat", heartbeat.String()}
	if far {
		if s.link, err = faults.NewLink(server, oneWay); err != nil {
			return s, err
		}
		to = s.link.Addr()
		args = append(args, "--pool-min", fmt.Sprint(poolMin), "--pool-max", fmt.Sprint(poolMax))
	}
	for i, target := range targets {
		s.public[i] = net.JoinHostPort("127.0.0.1", ports[1+i])
		args = append(args, "-R", ports[1+i]+":"+target)
	}
	key := pool.NewKey().Text()
	s.server = newProgram(bin, dir, "tunnel-server", key, "--listen", server, "--bind", "127.0.0.1",
		"--tls", tlsMode, "--heartbeat", heartbeat.String(), "--wait", wait.String())
	s.client = newProgram(bin, dir, "tunnel-client", key, append(args, "--server", to)...)
	if err := s.start(s.server); err != nil {
		return s, err
	}
	return s, s.start(s.client)
}

// freePort finds one that nobody has at the moment, so that it stays the same
// over restarts.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func (s *site) start(p *program) error {
	return p.start(func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed = errors.Join(s.failed, err)
	})
}

// err is why the run cannot go on.
func (s *site) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// close ends what there is of the site, but leaves the logs.
func (s *site) close() {
	for _, p := range []*program{s.client, s.server} {
		if p != nil {
			p.end(syscall.SIGKILL)
		}
	}
	if s.link != nil {
		s.link.Close()
	}
}

// sampling measures both processes until ctx ends.
func (s *site) sampling(ctx context.Context) {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, p := range []*program{s.server, s.client} {
			s.sample(p)
		}
	}
}

func (s *site) sample(p *program) {
	run := p.running()
	now, err := measure(run.cmd.Process.Pid)
	if err != nil {
		return // it is being restarted, or the system cannot tell
	}
	now.at = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.series[run] == nil {
		s.series[run] = &series{program: p.label()}
	}
	s.series[run].samples = append(s.series[run].samples, now)
}

// seriesOf is that of the process that runs now.
func (s *site) seriesOf(p *program) series {
	run := p.running()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.series[run]; got != nil {
		return *got
	}
	return series{program: p.label()}
}

// measurable reports whether this system tells what a process uses.
func measurable() bool {
	_, err := measure(os.Getpid())
	return err == nil
}
