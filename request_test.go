package pool

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRequest: the order is that of the requests, whenever their Wait is called.
func TestRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		a, b, late := p.Request(), p.Request(), p.Request()
		require.Equal(t, 3, p.Stats().Waiting)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := late.Wait(ctx)
		require.ErrorIs(t, err, ErrTimeout)
		first, _ := admit(t, p)
		second, _ := admit(t, p)
		for _, w := range []struct {
			Request
			id string
		}{{b, second}, {a, first}} {
			c, err := w.Wait(t.Context())
			require.NoError(t, err)
			require.Equal(t, w.id, c.ID())
			p.Put(c.ID(), c)
		}
		_, err = p.Request().Wait(ctx)
		require.ErrorIs(t, err, ErrTimeout)
		require.Equal(t, 2, p.Active(), "what came for one who has left stays")
		p.Close()
		_, err = p.Request().Wait(t.Context())
		require.ErrorIs(t, err, ErrClosed)
	})
}
