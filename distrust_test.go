package pool

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func parsed(t testing.TB, id string) ID {
	t.Helper()
	p, err := ParseID(id)
	require.NoError(t, err)
	return p
}

// TestDistrustTakesTheOlder: a connection that was found dead after a second
// or more takes with it those idle that are as old, and no younger one.
func TestDistrustTakesTheOlder(t *testing.T) {
	for _, out := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newServerCore(t, 8)
			_, older := admit(t, p)
			time.Sleep(time.Second)
			deadID, dead := admit(t, p)
			_, same := admit(t, p) // at the same instant of the bubble's clock
			time.Sleep(time.Millisecond)
			_, younger := admit(t, p)
			var holder *Conn
			if out {
				var err error
				holder, err = p.Take(context.Background(), parsed(t, deadID))
				require.NoError(t, err)
			}
			time.Sleep(suspectAge - time.Millisecond)
			p.Distrust(parsed(t, deadID))
			for _, peer := range []net.Conn{older, dead, same} {
				requireEnded(t, peer)
			}
			s := p.Stats()
			require.Equal(t, map[CloseReason]uint64{ClosedDistrusted: 3}, s.Closed)
			require.Equal(t, 1, s.Idle)
			require.Zero(t, s.Out)
			if out {
				_, err := holder.Write([]byte("x"))
				require.ErrorIs(t, err, net.ErrClosed)
				p.Put(deadID, holder)
				require.NoError(t, holder.Close())
			}
			requireEcho(t, mustGet(t, p), younger)
			requireBooks(t, p)
		})
	}
}

// TestDistrustAllowsForTheWay: the ends date proofs apart. A client closes what
// the server may have taken for as old, and no more than that.
func TestDistrustAllowsForTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newClientCore(t, 8)
		dead := arrive(t, p, "dead----")
		time.Sleep(suspectSlack)
		near := arrive(t, p, "near----")
		time.Sleep(time.Millisecond)
		far := arrive(t, p, "far-----")
		time.Sleep(time.Second)
		p.Distrust(ID([]byte("dead----")))
		requireEnded(t, dead)
		requireEnded(t, near)
		require.Equal(t, map[CloseReason]uint64{ClosedDistrusted: 2}, p.Stats().Closed)
		requireEcho(t, mustGet(t, p), far)
	})
}

// TestDistrustOfTheYoung: what was proven less than a second ago did not die of
// idleness, and says nothing of others.
func TestDistrustOfTheYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		_, older := admit(t, p)
		time.Sleep(time.Minute)
		deadID, dead := admit(t, p)
		time.Sleep(suspectAge - 1)
		p.Distrust(parsed(t, deadID))
		requireEnded(t, dead)
		require.Equal(t, 1, p.Stats().Idle)
		requireEcho(t, mustGet(t, p), older)
	})
}

// TestDistrustSparesTheProven: whoever was used and put back since is not as
// old as when it came.
func TestDistrustSparesTheProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		deadID, _ := admit(t, p)
		id, peer := admit(t, p)
		time.Sleep(time.Minute)
		c, err := p.Take(context.Background(), parsed(t, id))
		require.NoError(t, err)
		p.Put(id, c)
		p.Distrust(parsed(t, deadID))
		require.Equal(t, map[CloseReason]uint64{ClosedDistrusted: 1}, p.Stats().Closed)
		requireEcho(t, mustGet(t, p), peer)
	})
}

// TestDistrustUnknown: an ID that is not here, or not any more, changes nothing.
func TestDistrustUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		_, _ = admit(t, p)
		id, _ := admit(t, p)
		p.Distrust(ID([]byte("unknown!")))
		require.Equal(t, 2, p.Stats().Idle)
		p.Distrust(parsed(t, id))
		time.Sleep(time.Minute)
		p.Distrust(parsed(t, id))
		require.Equal(t, 1, p.Stats().Idle)
	})
}

// TestDistrustSparesUnreadBytes: on a client an idle connection that has bytes
// is the next user's, however old it is.
func TestDistrustSparesUnreadBytes(t *testing.T) {
	allModes(t, func(t *testing.T, mode TLSMode) {
		const size = 3
		p := openPair(t, mode, ServerConfig{}, ClientConfig{Limits: Limits{MinCap: size, MaxCap: size}})
		p.full(t, size)
		alive := mustGet(t, p.server)
		_, err := alive.Write([]byte("START"))
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			bytes, known := p.client.Peek(parsed(t, alive.ID()))
			return bytes && known
		}, 10*time.Second, time.Millisecond)
		id, err := ParseID(mustGet(t, p.server).ID())
		require.NoError(t, err)
		age(p.client)
		p.client.Distrust(id)
		require.EqualValues(t, size-1, p.client.Stats().Closed[ClosedDistrusted])
		c, err := p.client.ClientGet(alive.ID())
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, len("START")))
		require.NoError(t, err)
		requireEcho(t, c, alive)
		p.full(t, size) // dialed anew at once
	})
}

// age makes all idle connections equally old, and old enough to be suspect.
func age(p *Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	then := time.Now().Add(-time.Minute)
	for e := p.idle.newest; e != nil; e = e.next {
		e.provenAt = then
	}
}

func TestPeek(t *testing.T) {
	allModes(t, func(t *testing.T, mode TLSMode) {
		p := openPair(t, mode, ServerConfig{}, ClientConfig{Limits: Limits{MinCap: 2, MaxCap: 2}})
		p.full(t, 2)
		bytes, known := p.client.Peek(ID([]byte("unknown!")))
		require.False(t, bytes || known)
		server := mustGet(t, p.server)
		id := parsed(t, server.ID())
		requirePeek := func(want bool) {
			t.Helper()
			require.Eventually(t, func() bool {
				bytes, known := p.client.Peek(id)
				return known && bytes == want
			}, 10*time.Second, time.Millisecond)
		}
		requirePeek(false)
		client, err := p.client.ClientGet(server.ID())
		require.NoError(t, err)
		requirePeek(false) // in a holder's hands
		_, err = server.Write([]byte("x"))
		require.NoError(t, err)
		requirePeek(true)
		_, err = client.Read(make([]byte, 1))
		require.NoError(t, err)
		requirePeek(false)
		require.NoError(t, client.Close())
		_, known = p.client.Peek(id)
		require.False(t, known)
	})
}
