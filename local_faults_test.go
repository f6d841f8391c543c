package pool

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWaitReadySeesChecked: what comes back from a check counts for who waits to
// see so many idle.
func TestWaitReadySeesChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan error)
		p := newLocal(t, newLineServer(t, nil), LocalConfig{
			Limits: Limits{MinCap: 2, MaxOpen: 2}, CheckEvery: 10 * time.Second, CheckTimeout: time.Hour,
			Check: func(context.Context, *Conn) error { return <-goOn },
		})
		time.Sleep(11 * time.Second)
		require.Equal(t, 1, p.Stats().Checking)
		ready := make(chan error, 1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		go func() { ready <- p.WaitReady(ctx, 2) }() // ends with the second check
		synctest.Wait()
		require.Empty(t, ready)
		goOn <- nil
		goOn <- nil
		require.NoError(t, <-ready)
	})
}

// TestDrainWaitsForLastGoodbye: the goodbye of the last one that is put back during
// a drain belongs to it, however fast the drain ends.
func TestDrainWaitsForLastGoodbye(t *testing.T) {
	for range 10 {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{Limits: Limits{MaxOpen: 1}, Goodbye: saying("bye")})
		c := mustGet(t, p)
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(context.Background()) }() // ends with the Put
		var looking sync.WaitGroup
		for range 4 { // so that who wants the lock has to wait for it
			looking.Go(func() {
				for len(drained) == 0 {
					p.Stats()
				}
			})
		}
		require.Eventually(t, func() bool { return !p.Ready() }, 10*time.Second, 10*time.Microsecond)
		p.Put(c.ID(), c)
		looking.Wait()
		require.NoError(t, <-drained)
		require.Equal(t, 1, s.heardOf("bye"))
	}
}
