package relay

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLargeBuffersAreGivenBack: a stream that moved much and is quiet holds none,
// on either side, and neither does one that ended.
func TestLargeBuffersAreGivenBack(t *testing.T) {
	inEachMode(t, func(t *testing.T, lane func() (client, server net.Conn)) {
		c, s := lane()
		r := start(t, c, s, rigOptions{})
		said := pattern(1, 16<<20)
		go r.target.Write(said) // ends when the user has read it all
		heard := make([]byte, len(said))
		_, err := io.ReadFull(r.user, heard)
		require.NoError(t, err)
		require.True(t, bytes.Equal(said, heard))
		require.Eventually(t, func() bool { return largeOut.Load() == 0 }, patience, time.Millisecond)
		r.user.CloseWrite()
		r.target.CloseWrite()
		r.keptByBoth(t)
		require.Zero(t, largeOut.Load())
	})
}

// TestLargeBuffersAreBounded: with none left a stream works all the same.
func TestLargeBuffersAreBounded(t *testing.T) {
	largeOut.Add(maxLarge)
	defer largeOut.Add(-maxLarge)
	require.False(t, borrowBuffer(true).large())
	c, s := tcpPair(t)
	r := start(t, c, s, rigOptions{})
	said := pattern(2, 4<<20)
	go r.user.Write(said) // ends when the target has read it all
	heard := make([]byte, len(said))
	_, err := io.ReadFull(r.target, heard)
	require.NoError(t, err)
	require.True(t, bytes.Equal(said, heard))
	r.user.CloseWrite()
	r.target.CloseWrite()
	r.keptByBoth(t)
}
