package testnet

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// What is on its way in one direction is bounded in packets and bytes; what
	// is beyond is lost, as in a router's queue.
	maxQueued      = 8192
	maxQueuedBytes = 64 << 20

	// maxPacket holds the largest packet with what the device puts in front.
	maxPacket = 64<<10 + 64
)

// path carries packets one way, each after a delay, in order. A read of from is
// one packet, and so is a write to to.
type path struct {
	from io.Reader
	to   io.Writer

	delay atomic.Int64  // time.Duration
	loss  atomic.Uint64 // float64 bits
	hole  atomic.Bool

	queue   chan packet
	queued  atomic.Int64 // bytes in queue
	carried atomic.Uint64
	lost    atomic.Uint64
	tasks   sync.WaitGroup
}

type packet struct {
	due  time.Time
	data []byte
}

func newPath(from io.Reader, to io.Writer) *path {
	return &path{from: from, to: to, queue: make(chan packet, maxQueued)}
}

// start begins to carry. It ends when from does.
func (p *path) start() {
	p.tasks.Go(p.collect)
	p.tasks.Go(p.deliver)
}

func (p *path) wait() { p.tasks.Wait() }

func (p *path) stats() Traffic { return Traffic{Carried: p.carried.Load(), Lost: p.lost.Load()} }

// collect puts packets on their way until from ends.
func (p *path) collect() {
	defer close(p.queue)
	buf := make([]byte, maxPacket)
	for {
		n, err := p.from.Read(buf)
		if err != nil {
			return
		}
		if p.unlucky() || p.queued.Load()+int64(n) > maxQueuedBytes {
			p.lost.Add(1)
			continue
		}
		p.queued.Add(int64(n))
		select {
		case p.queue <- packet{time.Now().Add(time.Duration(p.delay.Load())), bytes.Clone(buf[:n])}:
		default:
			p.queued.Add(int64(-n))
			p.lost.Add(1)
		}
	}
}

func (p *path) unlucky() bool {
	share := math.Float64frombits(p.loss.Load())
	return share > 0 && rand.Float64() < share
}

// deliver hands each packet over when it is due. What is left when from has
// ended has nowhere to go.
func (p *path) deliver() {
	for next := range p.queue {
		if wait := time.Until(next.due); wait > 0 {
			time.Sleep(wait)
		}
		p.queued.Add(int64(-len(next.data)))
		if p.hole.Load() {
			p.lost.Add(1)
			continue
		}
		if _, err := p.to.Write(next.data); err != nil {
			p.lost.Add(1) // the far device is going away
			continue
		}
		p.carried.Add(1)
	}
}
