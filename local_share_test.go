package pool

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOwnHandleInBackground: what Setup built may use the own handle, and end it,
// while the connection comes into the pool and its group counts it.
func TestOwnHandleInBackground(t *testing.T) {
	for range 20 {
		var background sync.WaitGroup
		g := newGroup(t, newLineServer(t, nil), GroupConfig{MaxOpen: 2}, LocalConfig{
			Limits: Limits{MinCap: 2, MaxOpen: 2},
			Setup: func(_ context.Context, c *Conn) error {
				background.Go(func() { // ends by itself
					for range 100 {
						if len(c.ID()) != idSize {
							t.Error("it has no ID")
						}
					}
					c.Close()
				})
				return nil
			},
		})
		if c, err := g.Get(t.Context(), "a"); err == nil {
			g.Put(c)
		}
		g.Close()
		background.Wait()
		require.Zero(t, g.Stats().Open)
	}
}
