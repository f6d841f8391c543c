package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReverse: the client hands out, and the server takes by ID. What the holder
// at the client says before the server takes is not lost, also right after the
// connection came back.
func TestReverse(t *testing.T) {
	allModes(t, func(t *testing.T, mode TLSMode) {
		p := openPair(t, mode, ServerConfig{Reverse: true}, ClientConfig{Reverse: true, Limits: Limits{MinCap: 2, MaxCap: 4}})
		p.full(t, 2)
		for range 5 {
			client := mustGet(t, p.client)
			_, err := client.Write([]byte("early"))
			require.NoError(t, err)
			id, err := ParseID(client.ID())
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				start, settled := p.server.Peek(id)
				return start && settled
			}, 10*time.Second, time.Millisecond)
			server, err := p.server.Take(t.Context(), id)
			require.NoError(t, err)
			got := make([]byte, 5)
			_, err = server.Read(got)
			require.NoError(t, err)
			require.Equal(t, "early", string(got))
			requireEcho(t, client, server)
			p.server.Put(server.ID(), server)
			p.client.Put(client.ID(), client)
		}
		requireBooks(t, p.server)
		requireBooks(t, p.client)
	})
}

// TestReverseBreach: a server that speaks on an idle connection loses it.
func TestReverseBreach(t *testing.T) {
	p := openPair(t, TLSPlain, ServerConfig{Reverse: true}, ClientConfig{Reverse: true, Limits: Limits{MinCap: 1, MaxCap: 1}})
	p.full(t, 1)
	client := mustGet(t, p.client)
	id, _ := ParseID(client.ID())
	server, err := p.server.Take(t.Context(), id)
	require.NoError(t, err)
	p.client.Put(client.ID(), client)
	_, err = server.Write([]byte("unasked"))
	require.NoError(t, err)
	other := mustGet(t, p.client)
	require.NotEqual(t, client.ID(), other.ID())
	other.Close()
	server.Close()
}
