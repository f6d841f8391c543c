package pool

import (
	"context"
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
