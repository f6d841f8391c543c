package tunnel

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestScheduleOnAFlappingPath: sessions that serve for some seconds and then
// break are followed soon by the next, however many; those that break at once
// are not; and two clients of one identity still keep apart.
func TestScheduleOnAFlappingPath(t *testing.T) {
	const soon = 2 * time.Second
	var s schedule
	now := time.Now()
	for range 100 {
		pause := s.ended(io.EOF, 5*time.Second, now)
		require.Less(t, pause, soon)
		now = now.Add(5*time.Second + pause)
	}
	longest := time.Duration(0)
	for range 100 {
		longest = max(longest, s.ended(io.EOF, usefulSession/2, now))
	}
	require.Greater(t, longest, reconnectCeiling/2)
	require.Less(t, s.ended(io.EOF, usefulSession, now), soon, "it serves again")
	longest = 0
	for range 100 {
		longest = max(longest, s.ended(errReplaced, 5*time.Second, now))
	}
	require.Greater(t, longest, reconnectCeiling/2)
}
