package pool

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestShortIDs: pairs work as with 8 bytes, in every mode, with a key and without,
// whichever side hands out, and again after Put.
func TestShortIDs(t *testing.T) {
	allModes(t, func(t *testing.T, mode TLSMode) {
		for _, key := range []Key{{}, NewKey()} {
			for _, reverse := range []bool{false, true} {
				server := ServerConfig{ShortIDs: true, Reverse: reverse}
				client := ClientConfig{ShortIDs: true, Reverse: reverse, Limits: Limits{MinCap: 2, MaxCap: 2}}
				if !key.IsZero() {
					server.Keys, client.Security.Key = KnownKeys(key), key
				}
				p := openPair(t, mode, server, client)
				p.full(t, 2)
				near, far := p.server, p.client
				if reverse {
					near, far = far, near
				}
				for range 5 {
					a := mustGet(t, near)
					require.Regexp(t, "^[0-9a-f]{8}$", a.ID())
					b, err := far.OutgoingGet(a.ID(), 10*time.Second)
					require.NoError(t, err)
					requireEcho(t, a, b)
					far.Put(a.ID(), b)
					near.Put(a.ID(), a)
				}
			}
		}
	})
}

// TestEndsDifferInShortIDs: the end that can tell says what to do, at once, and
// no connection is paired.
func TestEndsDifferInShortIDs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	allModes(t, func(t *testing.T, mode TLSMode) {
		t.Run("client only", func(t *testing.T) {
			p := openPair(t, mode, ServerConfig{}, ClientConfig{ShortIDs: true, Limits: Limits{MinCap: 4, MaxCap: 4}})
			p.full(t, 4)
			id, err := ParseID(mustGet(t, p.server).ID())
			require.NoError(t, err)
			_, err = p.client.Take(ctx, id)
			require.ErrorIs(t, err, ErrBadID)
			require.ErrorContains(t, err, "ShortIDs is set here")
			_, err = p.client.ClientGet(id.String())
			require.ErrorIs(t, err, ErrBadID)
			p.client.Close()
			_, err = p.client.ClientGet(id.String())
			require.ErrorIs(t, err, ErrClosed, "whatever the ID")
			p.server.Flush()
		})
		t.Run("client only, reverse", func(t *testing.T) {
			p := openPair(t, mode, ServerConfig{Reverse: true}, ClientConfig{ShortIDs: true, Reverse: true, Limits: Limits{MinCap: 4, MaxCap: 4}})
			require.Eventually(t, func() bool { return p.server.Active() >= 4 }, 10*time.Second, time.Millisecond)
			for _, text := range []string{"00000000", "61626364"} { // as the client would name one
				id, err := ParseID(text)
				require.NoError(t, err)
				_, err = p.server.Take(ctx, id)
				require.ErrorIs(t, err, ErrBadID)
				require.ErrorContains(t, err, "ServerConfig.ShortIDs")
			}
		})
		t.Run("server only", func(t *testing.T) {
			log := make(eventLog, 100)
			p := openPair(t, mode, ServerConfig{ShortIDs: true}, ClientConfig{Logger: log, Limits: Limits{MinCap: 1, MaxCap: 1}})
			require.Contains(t, (<-log).text, "set ShortIDs here too")
			require.Eventually(t, func() bool { return p.client.Stats().DialFailures > 0 }, 10*time.Second, time.Millisecond)
			require.Zero(t, p.client.Stats().Created)
		})
	})
}

// TestUserBehindAShortID: where only the server has ShortIDs, a user who speaks at
// once completes no long ID.
func TestUserBehindAShortID(t *testing.T) {
	log := make(eventLog, 100)
	p := openPair(t, TLSPlain, ServerConfig{ShortIDs: true}, ClientConfig{Logger: log, Limits: Limits{MinCap: 1, MaxCap: 1}})
	for range 3 {
		c := mustGet(t, p.server)
		c.Write([]byte("GET / HTTP/1.1\r\n")) // may come too late
		c.Close()
	}
	require.Contains(t, (<-log).text, "set ShortIDs here too")
	require.Zero(t, p.client.Stats().Created)
}

// TestShortIDsThroughAdmit: a pool without a listener tells them too.
func TestShortIDsThroughAdmit(t *testing.T) {
	p := keep(t)(NewServer(ServerConfig{ShortIDs: true}))
	peer, conn := net.Pipe()
	defer peer.Close()
	admitted := make(chan error, 1)
	go func() { admitted <- p.Admit(t.Context(), conn) }() // ends with the read
	raw := make([]byte, shortSize)
	_, err := peer.Read(raw)
	require.NoError(t, err)
	require.NoError(t, <-admitted)
	require.Equal(t, textOf([shortSize]byte(raw)).String(), mustGet(t, p).ID())
}
