package pool

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestConns: each connection with its state, and since when it is in that.
func TestConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLocal(t, newLineServer(t, nil), LocalConfig{
			Limits: Limits{MinCap: 2, MaxOpen: 2}, CheckEvery: 10 * time.Second,
			Check: func(context.Context, *Conn) error { time.Sleep(time.Second); return nil },
		})
		synctest.Wait()
		time.Sleep(2500 * time.Millisecond)
		out := mustGet(t, p)
		time.Sleep(3 * time.Second)
		single, err := p.Fresh(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Second)
		pipe := single.RemoteAddr()
		idle := "00000001"
		if out.ID() == idle {
			idle = "00000002"
		}
		infos := p.Conns()
		require.Len(t, infos, 3)
		require.True(t, infos[0].ID < infos[1].ID, "those of the same age by name")
		require.ElementsMatch(t, []ConnInfo{
			{ID: out.ID(), State: ConnOut, InState: 4 * time.Second, Age: 6500 * time.Millisecond, Uses: 1, RemoteAddr: pipe},
			{ID: idle, State: ConnIdle, InState: 6500 * time.Millisecond, Age: 6500 * time.Millisecond, RemoteAddr: pipe},
		}, infos[:2])
		require.Equal(t, ConnInfo{ID: single.ID(), State: ConnOut, InState: time.Second, Age: time.Second, Uses: 1, Single: true, RemoteAddr: pipe}, infos[2])

		p.Put(out.ID(), out)
		p.Put(single.ID(), single)
		synctest.Wait()
		time.Sleep(4 * time.Second) // the idle one is being checked
		infos = p.Conns()
		require.Len(t, infos, 2)
		for _, c := range infos {
			if c.ID == idle {
				require.Equal(t, ConnChecking, c.State)
				require.Equal(t, 10500*time.Millisecond, c.InState, "a check is no use")
			} else {
				require.Equal(t, ConnIdle, c.State)
				require.Equal(t, 4*time.Second, c.InState)
				require.Equal(t, 1, c.Uses)
			}
		}
		p.Close()
		require.Empty(t, p.Conns())
	})
}

// TestConnsOfServer: what is not admitted yet is not there yet.
func TestConnsOfServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 4)
		peer, conn := net.Pipe()
		defer peer.Close()
		go p.Admit(context.Background(), conn) // ends with the read below
		synctest.Wait()
		require.Empty(t, p.Conns())
		_, err := peer.Read(make([]byte, idSize))
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, p.Conns(), 1)
	})
}

// TestHealthyLocal: a pool that cannot dial is ill while it has no connection.
func TestHealthyLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLineServer(t, nil)
		p := newLocal(t, s, LocalConfig{})
		require.NoError(t, p.Healthy(), "the first dial is not over")
		synctest.Wait()
		require.NoError(t, p.Healthy())
		s.setRefuse(errBroken)
		_, err := p.Fresh(t.Context())
		require.ErrorIs(t, err, errBroken)
		require.NoError(t, p.Healthy(), "one is there")
		c := mustGet(t, p)
		time.Sleep(time.Second)
		require.NoError(t, p.Healthy(), "it serves somebody")
		c.Close()
		time.Sleep(time.Second)
		require.ErrorIs(t, p.Healthy(), errBroken)
		require.ErrorContains(t, p.Healthy(), "no connection, and the last dial failed")
		s.setRefuse(nil)
		p.Put("", mustGet(t, p))
		require.NoError(t, p.Healthy())
		p.Close()
		require.ErrorIs(t, p.Healthy(), ErrClosed)
	})
}

// TestHealthyClient: as a single-ended pool; failed dials are all that it knows of
// the other side.
func TestHealthyClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := run(t, keep(t)(NewClient(ClientConfig{
			Dial: func(context.Context) (net.Conn, error) { return nil, errBroken },
		})))
		synctest.Wait()
		require.ErrorIs(t, p.Healthy(), errBroken)
		arrive(t, p, "AAAAAAAA")
		require.NoError(t, p.Healthy())
	})
}

// TestHealthyServer: a listener that nobody serves is an illness; without one
// connections come through Admit.
func TestHealthyServer(t *testing.T) {
	p := newServerCore(t, 1)
	require.NoError(t, p.Healthy())
	p.Close()
	require.ErrorIs(t, p.Healthy(), ErrClosed)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p = keep(t)(NewServer(ServerConfig{Listener: l}))
	require.ErrorContains(t, p.Healthy(), "nobody accepts on "+l.Addr().String())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(context.Background()) }() // ends with the listener
	require.Eventually(t, func() bool { return p.Healthy() == nil }, 10*time.Second, time.Millisecond)
	l.Close()
	require.ErrorIs(t, <-ended, net.ErrClosed)
	require.ErrorContains(t, p.Healthy(), "nobody accepts")

	wrong := NewServerPool(1, "nowhere", nil, l, 0)
	defer wrong.Close()
	require.ErrorContains(t, wrong.Healthy(), "nowhere", "it never serves")
}
