package congestion

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPause(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		cwnd, unacked uint32
		roundTrip     time.Duration
		want          time.Duration
	}{
		{10, 0, 40 * ms, 0},
		{10, 4, 40 * ms, 0},
		{10, 5, 40 * ms, 2 * ms},
		{10, 8, 40 * ms, 5 * ms},
		{10, 9, 40 * ms, mostPause},
		{10, 10, 40 * ms, 0}, // the system collects
		{4, 12, 40 * ms, 0},
		{100, 50, 40 * ms, 200 * time.Microsecond},
		{200, 100, 40 * ms, 0}, // not worth it
		{10, 5, ms, 0},
		{10, 9, 500 * ms, mostPause},
		{0, 0, 40 * ms, 0}, // what a closed socket may say
	} {
		require.Equal(t, tt.want, pause(tt.cwnd, tt.unacked, tt.roundTrip), "%+v", tt)
	}
}

// TestNoSocket: nothing is known of what is not a socket, and nothing is done.
func TestNoSocket(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	Steady(a)
	require.Zero(t, Watch(a).Pause(1))
}
