package library

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"
	"unsafe"

	nodepass "github.com/NodePassProject/pool"
	"github.com/stretchr/testify/require"
)

// BenchmarkPair is get at the server and take at the client, with a number of
// connections idle. What brings the pool back to that number is not timed.
//
// Without sockets neither library does a system call, and more connections can
// be idle than a process may have descriptors. With sockets tunnelpool looks at
// both ends of what it hands out, whether they are alive; nodepass does not.
func BenchmarkPair(b *testing.B) {
	for _, idle := range []int{100, 10_000, 60_000} {
		b.Run(fmt.Sprintf("nosockets/idle=%d/%s", idle, ours.name), func(b *testing.B) { recycled(b, ours, memory(b), idle) })
		b.Run(fmt.Sprintf("nosockets/idle=%d/%s", idle, theirs.name), func(b *testing.B) { planted(b, idle) })
	}
	for _, idle := range []int{100, 4_000} {
		b.Run(fmt.Sprintf("sockets/idle=%d/%s", idle, ours.name), func(b *testing.B) { recycled(b, ours, sockets(b), idle) })
		b.Run(fmt.Sprintf("sockets/idle=%d/%s", idle, theirs.name), func(b *testing.B) { renewed(b, theirs, sockets(b), idle) })
	}
}

// BenchmarkUser is all that a user costs a pair over sockets, one after the
// other: get, take, and the end, which for tunnelpool is to give both ends back
// and for nodepass to close them, and to wait for another connection when none
// is left. The pools refill at the shortest interval, a millisecond.
func BenchmarkUser(b *testing.B) {
	for _, secure := range []bool{false, true} {
		for _, l := range libraries {
			b.Run(fmt.Sprintf("tls=%t/%s", secure, l.name), func(b *testing.B) {
				p := l.open(b, sockets(b), settings{minCap: 100, maxCap: 100, minIvl: often, maxIvl: often, tls: secure})
				b.ReportAllocs()
				b.ResetTimer()
				begun := processorTime()
				for range b.N {
					e, err := p.take(time.Minute)
					if err != nil {
						b.Fatal(err)
					}
					p.end(e, true)
				}
				reportProcessor(b, processorTime()-begun)
			})
		}
	}
}

// atMost is how many pairs are taken before the pool is made whole.
const atMost = 1000

// takes times take, in batches. refill makes the pool whole again.
func takes(b *testing.B, p *pair, idle int, refill func(out []ends)) {
	out := make([]ends, 0, atMost)
	var taken time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	b.StopTimer()
	for left := b.N; left > 0; left -= len(out) {
		out = out[:0]
		b.StartTimer()
		begun := processorTime()
		for range min(left, atMost, idle/2) {
			e, err := p.take(time.Second)
			if err != nil {
				b.Fatal(err)
			}
			out = append(out, e)
		}
		taken += processorTime() - begun
		b.StopTimer()
		refill(out)
	}
	reportProcessor(b, taken)
}

// reportProcessor reports processor time per operation, which other work on the
// machine moves less than the time on the wall.
func reportProcessor(b *testing.B, taken time.Duration) {
	if taken > 0 {
		b.ReportMetric(float64(taken)/float64(b.N), "cpu-ns/op")
	}
}

const often = time.Millisecond // between maintenance passes, where refills are not timed

// recycled gives every pair back.
func recycled(b *testing.B, l library, n network, idle int) {
	g := new(gate)
	n.dial = g.before(n.dial)
	p := l.open(b, n, settings{minCap: idle, maxCap: idle, minIvl: often, maxIvl: often})
	g.shut() // nothing is missing when all are given back
	defer g.open()
	takes(b, p, idle, func(out []ends) {
		for _, e := range out {
			p.end(e, true)
		}
	})
}

// renewed closes every pair and waits until others are there.
func renewed(b *testing.B, l library, n network, idle int) {
	g := new(gate)
	n.dial = g.before(n.dial)
	p := l.open(b, n, settings{minCap: idle, maxCap: idle, minIvl: often, maxIvl: often})
	g.shut()
	defer g.open()
	takes(b, p, idle, func(out []ends) {
		g.open()
		for _, e := range out {
			p.end(e, false)
		}
		p.whole(b, idle)
		g.shut()
	})
}

// planted puts connections into nodepass's pools the way its managers do at the
// end of a handshake, since it accepts nothing but TCP sockets there. What is
// timed is all its own.
func planted(b *testing.B, idle int) {
	l := newHanded(b)
	server := nodepass.NewServerPool(idle, "", nil, l, keepAlive)
	client := nodepass.NewClientPool(idle, idle, often, often, keepAlive, "0", "", nil)
	b.Cleanup(server.Close)
	b.Cleanup(client.Close)
	put := func(p *nodepass.Pool, id string) {
		field[sync.Map](p, "conns").Store(id, net.Conn(newQuiet()))
		*field[chan string](p, "idChan") <- id
	}
	plant := func(n int) {
		for range n {
			var raw [4]byte
			rand.Read(raw[:]) // never fails
			id := hex.EncodeToString(raw[:])
			put(server, id)
			put(client, id)
		}
	}
	plant(idle)
	require.Equal(b, idle, server.Active())
	takes(b, &pair{library: theirs, server: server, client: client}, idle, func(out []ends) { plant(len(out)) })
}

// field is an unexported field of a pool.
func field[T any](p *nodepass.Pool, name string) *T {
	f := reflect.ValueOf(p).Elem().FieldByName(name)
	return (*T)(unsafe.Pointer(f.UnsafeAddr()))
}
