package tunnel

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTrust: who fails is left alone for longer and longer, then tried with one
// user at a time, and has them all again when one was served or none failed.
func TestTrust(t *testing.T) {
	now := time.Unix(1000, 0)
	var who trust
	require.False(t, who.doubtful(now))
	require.False(t, who.tried(now))

	who.failed(now)
	who.failed(now.Add(time.Millisecond)) // offered before the first was known
	require.True(t, who.doubtful(now))
	require.False(t, who.due(now))
	now = now.Add(minDoubt)
	require.True(t, who.tried(now), "one")
	require.False(t, who.tried(now), "and no other")
	require.True(t, who.tried(now.Add(trialSpacing)), "for a while")

	for pause := 2 * minDoubt; pause <= maxDoubt; pause *= 2 {
		who.failed(now)
		require.False(t, who.due(now.Add(pause-1)), "%v", pause)
		now = now.Add(pause)
		require.True(t, who.tried(now), "%v", pause)
	}
	for range 100 {
		who.failed(now)
		now = now.Add(maxDoubt)
		require.True(t, who.tried(now))
	}

	require.True(t, who.doubtful(now.Add(trialTime-1)))
	require.False(t, who.doubtful(now.Add(trialTime)))
	require.Equal(t, trust{}, who)

	who.failed(now)
	require.True(t, who.tried(now.Add(minDoubt)))
	who.restored()
	require.Equal(t, trust{}, who)
}
