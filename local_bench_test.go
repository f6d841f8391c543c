package pool

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fillLocal makes a single-ended pool with n idle connections in memory. It looks
// after them as a real one does: ages, idle times and checks.
func fillLocal(b testing.TB, n int) *Pool {
	p := keep(b)(NewLocal(LocalConfig{
		Dial:       func(context.Context) (net.Conn, error) { return newIdleConn(), nil },
		Check:      func(context.Context, *Conn) error { return nil },
		CheckEvery: 30 * time.Second, MaxDials: 1000,
		Limits: Limits{MinCap: n, MaxOpen: n, IdleTimeout: time.Hour, MaxAge: time.Hour, MaxUses: 1 << 30},
	}))
	require.NoError(b, p.WaitReady(context.Background(), n))
	return p
}

func BenchmarkLocalGetPut(b *testing.B) {
	for _, n := range idleCounts {
		b.Run(fmt.Sprintf("idle=%d", n), func(b *testing.B) {
			p := fillLocal(b, n)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				c, err := p.Get(ctx)
				if err != nil {
					b.Fatal(err)
				}
				p.Put(c.ID(), c)
			}
		})
	}
}

// BenchmarkLocalUsers has a hundred users at once, who take a connection, use it
// for up to a millisecond, put it back, and pause for as long. It tells how long
// getting and putting took, at the median and for all but one in a hundred.
func BenchmarkLocalUsers(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("idle=%d", n), func(b *testing.B) {
			usersAtOnce(b, fillLocal(b, n), func(net.Conn) error {
				time.Sleep(rand.N(time.Millisecond))
				return nil
			})
		})
	}
}

// BenchmarkLocalUsersSockets is the same over loopback, where each user has a byte
// echoed. Both ends are in this process: 4,000 connections are 8,000 descriptors.
func BenchmarkLocalUsersSockets(b *testing.B) {
	for _, n := range []int{100, 4_000} {
		for _, how := range []string{"TCP", "TLS"} {
			b.Run(fmt.Sprintf("%s/idle=%d", how, n), func(b *testing.B) {
				usersAtOnce(b, fillSockets(b, n, how == "TLS"), echoByte)
			})
		}
	}
}

func echoByte(c net.Conn) error {
	one := []byte{1}
	if _, err := c.Write(one); err != nil {
		return err
	}
	_, err := c.Read(one)
	return err
}

// fillSockets is fillLocal with a server of echoes.
func fillSockets(b *testing.B, n int, secured bool) *Pool {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	cfg := LocalConfig{
		Address: l.Addr().String(), ConnectTimeout: time.Minute, Check: func(_ context.Context, c *Conn) error { return echoByte(c) },
		Limits: Limits{MinCap: n, MaxOpen: n, IdleTimeout: time.Hour, MaxAge: time.Hour, MaxUses: 1 << 30},
	}
	if secured {
		ca := newAuthority(b, "server.example")
		l = tls.NewListener(l, &tls.Config{Certificates: ca.server.Certificates})
		cfg.TLS = &tls.Config{RootCAs: ca.client.RootCAs, ServerName: "server.example"}
	}
	var running sync.WaitGroup
	running.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { // ends with the pool
				_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 16))
				c.Close()
			})
		}
	})
	b.Cleanup(running.Wait)
	b.Cleanup(func() { l.Close() })
	p := keep(b)(NewLocal(cfg))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.WaitReady(ctx, n); err != nil {
		b.Skip("no descriptors for so many?", err)
	}
	return p
}

// usersAtOnce is what the hundred do.
func usersAtOnce(b *testing.B, p *Pool, use func(net.Conn) error) {
	const users = 100
	var mu sync.Mutex
	var acquires, releases []time.Duration
	b.ResetTimer()
	var running sync.WaitGroup
	for range users {
		running.Go(func() {
			var acquired, released []time.Duration
			for range b.N/users + 1 {
				began := time.Now()
				c, err := p.Get(context.Background())
				acquired = append(acquired, time.Since(began))
				if err == nil {
					err = use(c)
				}
				if err != nil {
					b.Error(err)
					return
				}
				began = time.Now()
				p.Put(c.ID(), c)
				released = append(released, time.Since(began))
				time.Sleep(rand.N(time.Millisecond))
			}
			mu.Lock()
			defer mu.Unlock()
			acquires, releases = append(acquires, acquired...), append(releases, released...)
		})
	}
	running.Wait()
	b.StopTimer()
	for name, took := range map[string][]time.Duration{"acquire": acquires, "release": releases} {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), name+"-p50-ns")
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), name+"-p99-ns")
	}
}

// BenchmarkLocalMemory tells what an idle connection costs the pool, without what
// the connection itself takes.
func BenchmarkLocalMemory(b *testing.B) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("idle=%d", n), func(b *testing.B) {
			for b.Loop() {
				bare := make([]net.Conn, n)
				before := heap()
				for i := range bare {
					bare[i] = newIdleConn()
				}
				itself := heap() - before
				runtime.KeepAlive(bare)
				bare = nil
				before = heap()
				p := fillLocal(b, n)
				b.ReportMetric((float64(heap())-float64(before)-float64(itself))/float64(n), "B/conn")
				p.Close()
			}
		})
	}
}

// BenchmarkLocalCost is a request and its answer of one byte each over loopback: on
// a connection of its own, on a pooled one, and on a pooled one that is checked
// before each hand-out.
func BenchmarkLocalCost(b *testing.B) {
	ca := newAuthority(b, "server.example")
	ca.client.ServerName = "server.example"
	bounce := func(_ context.Context, c *Conn) error { return bounceByte(c) }
	for _, secure := range []bool{false, true} {
		for name, cfg := range map[string]LocalConfig{
			"fresh":           {Limits: Limits{MinCap: -1}},
			"pooled":          {},
			"pooled, checked": {Check: bounce, CheckAtGet: -1},
		} {
			b.Run(fmt.Sprintf("tls=%v/%s", secure, name), func(b *testing.B) {
				cfg.Address = listenEcho(b, ca, secure)
				if secure {
					cfg.TLS = ca.client
				}
				p := keep(b)(NewLocal(cfg))
				get := p.Get
				if name == "fresh" {
					get = p.Fresh
				}
				for b.Loop() {
					c, err := get(context.Background())
					if err != nil {
						b.Fatal(err)
					}
					if err := bounceByte(c); err != nil {
						b.Fatal(err)
					}
					p.Put(c.ID(), c)
				}
			})
		}
	}
}

// bounceByte sends a byte and reads it back.
func bounceByte(c net.Conn) error {
	one := []byte{'!'}
	if _, err := c.Write(one); err != nil {
		return err
	}
	_, err := c.Read(one)
	return err
}

// listenEcho runs a server that sends back what it gets, until the test ends.
func listenEcho(b testing.TB, ca authority, secure bool) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	if secure {
		l = tls.NewListener(l, ca.server)
	}
	var running sync.WaitGroup
	running.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { // ends with its client
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	b.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return l.Addr().String()
}
