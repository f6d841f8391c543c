package library

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBothServeAPair holds that the same lines drive both libraries.
func TestBothServeAPair(t *testing.T) {
	for _, l := range libraries {
		if l.name == theirs.name && raceDetector {
			continue
		}
		for _, secure := range []bool{false, true} {
			p := l.open(t, sockets(t), settings{minCap: 4, maxCap: 4, minIvl: often, maxIvl: often, tls: secure})
			e, err := p.take(10 * time.Second)
			require.NoError(t, err, l.name)
			_, err = e.near.Write([]byte("!"))
			require.NoError(t, err, l.name)
			e.far.SetReadDeadline(time.Now().Add(10 * time.Second))
			said := make([]byte, 1)
			_, err = io.ReadFull(e.far, said)
			require.NoError(t, err, l.name)
			require.Equal(t, "!", string(said), l.name)
			e.far.SetReadDeadline(time.Time{})
			p.end(e, true)
			p.whole(t, 4)
		}
	}
}

// TestNoSocketsIsAPairToo holds that a pool in memory hands out both ends of
// the same connection, many times.
func TestNoSocketsIsAPairToo(t *testing.T) {
	p := ours.open(t, memory(t), settings{minCap: 100, maxCap: 100, minIvl: often, maxIvl: often})
	for range 1000 {
		e, err := p.take(10 * time.Second)
		require.NoError(t, err)
		p.end(e, true)
	}
	p.whole(t, 100)
}
