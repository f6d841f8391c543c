package main

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRatio prints what a question costs over a pooled connection and with one
// made for it, at the same upsd in turns.
func TestRatio(t *testing.T) {
	u := startUPSD(t)
	c := u.client(1)
	name, want := value("one", 1)
	pooled := func() {
		got, err := c.Var(t.Context(), "one", name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	anew := func() {
		conn, err := net.Dial("tcp", u.address)
		require.NoError(t, err)
		defer conn.Close()
		s := newSession(conn)
		got, err := s.get("VAR", "one", name)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, s.do("LOGOUT"))
	}
	const rounds = 500
	var withPool, without []time.Duration
	for range rounds {
		withPool = append(withPool, took(pooled))
		without = append(without, took(anew))
	}
	a, b := median(withPool), median(without)
	t.Logf("a question to upsd, medians of %d: %v pooled, %v with a connection of its own: %.1f times", rounds, a, b, float64(b)/float64(a))
}

func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
