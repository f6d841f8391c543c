//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxCrowd is how many connections there can be to one port of a target from
	// one address, with room to spare.
	maxCrowd = 25_000

	// arriving is how many users of a crowd connect at the same time.
	arriving = 64

	// mostSaid bounds what a user of a crowd says at once.
	mostSaid = 16 << 10
)

// assembly is a crowd of users whose connections stay open, over as many tunnels
// as the limit of open files asks for, and their target, which says back what
// each says.
type assembly struct {
	sites  []*site
	target *echoProcess
	seed   uint64
	count  int

	said  atomic.Int64 // bytes that came back
	turns atomic.Int64
	right atomic.Int64 // users whose hash was

	mu     sync.Mutex
	wrongs []string
}

func (a *assembly) wrong(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.wrongs) < maxWrongs {
		a.wrongs = append(a.wrongs, fmt.Sprintf(format, args...))
	}
}

// member is one user.
type member struct {
	number uint64
	conn   *net.TCPConn
	random *rand.Rand
	heard  *checker  // what came back
	voice  io.Reader // the pattern that it says
}

// join connects a user and has it say a first word.
func (a *assembly) join(n uint64) (*member, error) {
	d := net.Dialer{Timeout: wait}
	s := a.sites[n%uint64(len(a.sites))]
	conn, err := d.Dial("tcp", s.public[n/uint64(len(a.sites))%2])
	if err != nil {
		return nil, err
	}
	m := &member{number: n, conn: conn.(*net.TCPConn), random: rand.New(rand.NewPCG(a.seed, n)), heard: newChecker(), voice: pattern(n, false)}
	m.conn.SetDeadline(time.Now().Add(userPatience))
	if _, err := m.conn.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
		return m, err
	}
	return m, a.turn(m, 64)
}

// turn has a user say something and hear it back.
func (a *assembly) turn(m *member, size int64) error {
	m.conn.SetDeadline(time.Now().Add(userPatience))
	var said bytes.Buffer
	io.CopyN(&said, m.voice, size)
	if _, err := m.conn.Write(said.Bytes()); err != nil {
		return err
	}
	if _, err := io.CopyN(m.heard, m.conn, size); err != nil {
		return err
	}
	a.said.Add(size)
	a.turns.Add(1)
	return nil
}

// leave has a user say a last word and both sides end, and checks all that it
// heard.
func (a *assembly) leave(m *member) error {
	if err := a.turn(m, 64); err != nil {
		return err
	}
	if err := m.conn.CloseWrite(); err != nil {
		return err
	}
	if n, err := m.conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("%d bytes and %v in place of an end", n, err)
	}
	if err := m.heard.check(m.number, false); err != nil {
		return err
	}
	a.right.Add(1)
	return nil
}

// each calls f for every member, so many at once.
func each(members []*member, f func(*member) error, wrong func(string, ...any)) {
	var tasks sync.WaitGroup
	places := make(chan struct{}, arriving)
	for _, m := range members {
		places <- struct{}{}
		tasks.Go(func() {
			defer func() { <-places }()
			if err := f(m); err != nil {
				wrong("user %d: %v", m.number, err)
			}
		})
	}
	tasks.Wait()
}

// crowd opens count user connections, uses half of them for a while and in the
// end all of them, and prints what one costs.
func crowd(ctx context.Context, o options, count int) (wrongs []string, err error) {
	if count > maxCrowd {
		return nil, fmt.Errorf("-connections %d: %d are the most between one client and one port", count, maxCrowd)
	}
	tunnels, err := makeRoom(count)
	if err != nil {
		return nil, err
	}
	a := &assembly{seed: o.seed, count: count}
	defer a.close()
	if err := a.build(ctx, o, tunnels); err != nil {
		return nil, err
	}
	before := a.measure()
	begun := time.Now()
	members, err := a.assemble(ctx)
	defer func() {
		for _, m := range members {
			m.conn.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(o.out, "%d connections are open after %v, TLS mode %s, tunnels: %d\n", count, time.Since(begun).Round(time.Millisecond), o.tlsMode, tunnels)
	open := a.measure()
	a.talk(ctx, members[:count/2], o.lasting)
	busy := a.measure()
	each(members, a.leave, a.wrong)
	fmt.Fprintf(o.out, "%d of them said and heard %.1f MB in %d turns; %d of %d hashes are right\n",
		count/2, float64(a.said.Load())/1e6, a.turns.Load(), a.right.Load(), count)
	if measurable() {
		for i, name := range []string{"tunnel-server", "tunnel-client"} {
			per := func(s sample) float64 { return float64(s.rss-before[i].rss) / float64(count) / 1024 }
			fmt.Fprintf(o.out, "%s: %d MiB before, %.1f KiB per connection when all are open, %.1f KiB when half have been active; %d descriptors, %d threads\n",
				name, before[i].rss>>20, per(open[i]), per(busy[i]), busy[i].files, busy[i].threads)
		}
	}
	return append(a.wrongs, a.left()...), context.Cause(ctx)
}

// build starts the target and the tunnels, and waits until they are up.
func (a *assembly) build(ctx context.Context, o options, tunnels int) (err error) {
	if err := build(o.dir); err != nil {
		return err
	}
	if a.target, err = startEcho(); err != nil {
		return err
	}
	for i := range tunnels {
		s, err := newSite(o.dir, filepath.Join(o.dir, fmt.Sprint(i)), o.tlsMode, false, [2]string{a.target.addr, a.target.addr})
		if err != nil {
			return err
		}
		a.sites = append(a.sites, s)
		if err := s.up(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *assembly) close() {
	for _, s := range a.sites {
		s.close()
	}
	if a.target != nil {
		a.target.stop()
	}
}

// up waits until both services are.
func (s *site) up(ctx context.Context) error {
	for _, address := range s.public {
		for begun := time.Now(); ; {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				conn.Close()
				break
			}
			if time.Since(begun) > recovery || !sleep(ctx, 10*time.Millisecond) {
				return fmt.Errorf("the tunnel does not come up: %w", err)
			}
		}
	}
	return nil
}

// left looks at what reached the target, and at what is left when the users are
// gone.
func (a *assembly) left() (wrongs []string) {
	seen, twice, _, err := a.target.look()
	if err == nil && (seen != a.count || twice != 0) {
		wrongs = append(wrongs, fmt.Sprintf("%d users reached the target, of %d, and %d of them more than once", seen, a.count, twice))
	}
	open := 0
	if err == nil {
		open, err = a.target.empty()
	}
	if err != nil {
		wrongs = append(wrongs, fmt.Sprintf("the target does not answer: %v", err))
	}
	if open > 0 {
		wrongs = append(wrongs, fmt.Sprintf("%d connections to the target are left when all users are gone", open))
	}
	for _, s := range a.sites {
		if err := s.err(); err != nil {
			wrongs = append(wrongs, err.Error())
		}
		wrongs = append(append(wrongs, s.server.troubles()...), s.client.troubles()...)
	}
	return wrongs
}

// assemble connects everybody.
func (a *assembly) assemble(ctx context.Context) (members []*member, err error) {
	var tasks sync.WaitGroup
	var mu sync.Mutex
	places := make(chan struct{}, arriving)
	for n := range uint64(a.count) {
		places <- struct{}{}
		tasks.Go(func() {
			defer func() { <-places }()
			if ctx.Err() != nil {
				return
			}
			m, e := a.join(n)
			mu.Lock()
			defer mu.Unlock()
			if m != nil {
				members = append(members, m)
			}
			if e != nil && err == nil {
				err = fmt.Errorf("user %d: %w", n, e)
			}
		})
	}
	tasks.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	return members, err
}

// talk has some of the users say something now and then, for a while.
func (a *assembly) talk(ctx context.Context, some []*member, lasting time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lasting)
	defer cancel()
	var tasks sync.WaitGroup
	for _, m := range some {
		tasks.Go(func() { // ends with ctx
			for sleep(ctx, time.Duration(m.random.Int64N(int64(2*time.Second)))) {
				if err := a.turn(m, 1+m.random.Int64N(mostSaid)); err != nil {
					a.wrong("user %d: %v", m.number, err)
					return
				}
			}
		})
	}
	tasks.Wait()
}

// measure adds up what the servers and what the clients use.
func (a *assembly) measure() (sum [2]sample) {
	for _, s := range a.sites {
		for i, p := range []*program{s.server, s.client} {
			one, _ := measure(p.running().cmd.Process.Pid)
			sum[i].rss, sum[i].files, sum[i].threads = sum[i].rss+one.rss, sum[i].files+one.files, sum[i].threads+one.threads
		}
	}
	return sum
}
