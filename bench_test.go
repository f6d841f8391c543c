package pool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// idleCounts are the sizes between which the cost must not grow.
var idleCounts = []int{10, 10_000, 100_000}

// fillServer makes a server pool with n idle connections in memory.
func fillServer(b testing.TB, n int) *Pool {
	p := newServerCore(b, n)
	for range n {
		require.NoError(b, p.Admit(context.Background(), newIdleConn()))
	}
	return p
}

// fillClient makes a client pool with n, and tells their IDs in random order.
func fillClient(b testing.TB, n int) (*Pool, []string) {
	p := newClientCore(b, n)
	ids := make([]string, n)
	for i := range ids {
		e := newEntry(newIdleConn())
		e.named(newID())
		require.NoError(b, p.adopt(e))
		ids[i] = e.text
	}
	rand.Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return p, ids
}

func BenchmarkGetPut(b *testing.B) {
	for _, n := range idleCounts {
		b.Run(fmt.Sprintf("idle=%d", n), func(b *testing.B) {
			p := fillServer(b, n)
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

// BenchmarkGetPutTold is BenchmarkGetPut for somebody who hears of it.
func BenchmarkGetPutTold(b *testing.B) {
	p := fillServer(b, 10)
	heard := 0
	p.mu.tell = func(ConnEvent) { heard++ }
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		c, err := p.Get(ctx)
		if err != nil {
			b.Fatal(err)
		}
		p.Put(c.ID(), c)
	}
	require.Equal(b, 2*b.N, heard)
}

func BenchmarkServerGetPut(b *testing.B) {
	for _, n := range idleCounts {
		b.Run(fmt.Sprintf("idle=%d", n), func(b *testing.B) {
			p := fillServer(b, n)
			b.ReportAllocs()
			for b.Loop() {
				id, c, err := p.ServerGet(0)
				if err != nil {
					b.Fatal(err)
				}
				p.Put(id, c)
			}
		})
	}
}

// BenchmarkTakePut takes the few that a server pool hands out, which are those
// most recently put back.
func BenchmarkTakePut(b *testing.B) { benchmarkTakePut(b, 10) }

// BenchmarkTakePutAnywhere takes all of them in random order. The work is the
// same, but with many idle hardly any of it is in the processor's caches.
func BenchmarkTakePutAnywhere(b *testing.B) { benchmarkTakePut(b, 100_000) }

func benchmarkTakePut(b *testing.B, among int) {
	for _, n := range idleCounts {
		b.Run(fmt.Sprintf("idle=%d", n), func(b *testing.B) {
			p, ids := fillClient(b, n)
			ids = ids[:min(n, among)]
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c, err := p.ClientGet(ids[i])
				if err != nil {
					b.Fatal(err)
				}
				p.Put(ids[i], c)
				if i++; i == len(ids) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkServerGetPutParallel shows the one lock under contention.
func BenchmarkServerGetPutParallel(b *testing.B) {
	for _, n := range idleCounts {
		b.Run(fmt.Sprintf("idle=%d", n), func(b *testing.B) {
			p := fillServer(b, n)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id, c, err := p.ServerGet(0)
					if err != nil {
						b.Error(err)
						return
					}
					p.Put(id, c)
				}
			})
		})
	}
}

// BenchmarkSockets is get and put over real sockets, where each looks at the
// socket once.
func BenchmarkSockets(b *testing.B) {
	for _, mode := range []TLSMode{TLSPlain, TLSSelfSigned} {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("mode=%s/idle=%d", mode, n), func(b *testing.B) {
				p := openPair(b, mode, ServerConfig{Limits: Limits{MaxCap: n}}, ClientConfig{Limits: Limits{MinCap: n, MaxCap: n}})
				p.full(b, n)
				b.ReportAllocs()
				for b.Loop() {
					id, c, err := p.server.ServerGet(0)
					if err != nil {
						b.Fatal(err)
					}
					p.server.Put(id, c)
				}
			})
		}
	}
}

// BenchmarkSweep is one look at all idle connections: the cost of watching.
func BenchmarkSweep(b *testing.B) {
	p := openPair(b, TLSPlain, ServerConfig{}, ClientConfig{Limits: Limits{MinCap: 1000, MaxCap: 1000}})
	p.full(b, 1000)
	server := p.server
	items := make([]*entry, 0, 1000)
	for e := server.idle.newest; e != nil; e = e.next {
		items = append(items, e)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, e := range items {
			probe(e.raw)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/conn")
}

// TestHandOutsAllocateOnce: the handle, and nothing else.
func TestHandOutsAllocateOnce(t *testing.T) {
	server := fillServer(t, 10)
	ctx := context.Background()
	client, ids := fillClient(t, 10)
	for name, use := range map[string]func(){
		"Get and Put": func() {
			c, _ := server.Get(ctx)
			server.Put(c.ID(), c)
		},
		"ServerGet and Put": func() {
			id, c, _ := server.ServerGet(0)
			server.Put(id, c)
		},
		"ClientGet and Put": func() {
			c, _ := client.ClientGet(ids[3])
			client.Put(ids[3], c)
		},
	} {
		require.LessOrEqual(t, testing.AllocsPerRun(1000, use), 1.0, name)
	}
}
