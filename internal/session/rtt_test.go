package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// estimate is what a roundTrip says after these samples.
func estimate(samples ...time.Duration) (rtt, dev time.Duration) {
	var r roundTrip
	for _, s := range samples {
		r.sample(s)
	}
	return r.get()
}

func TestEstimate(t *testing.T) {
	for _, tt := range []struct {
		name     string
		samples  []time.Duration
		rtt, dev time.Duration
	}{
		{"the first sample", []time.Duration{40 * ms}, 40 * ms, 5 * ms},
		{"a steady path", []time.Duration{40 * ms, 40 * ms, 41 * ms, 40 * ms}, 40 * ms, 5 * ms},
		{"of two, the quicker", []time.Duration{300 * ms, 40 * ms}, 40 * ms, 5 * ms},
		{"two of five among handshakes", []time.Duration{300 * ms, 180 * ms, 42 * ms, 40 * ms, 41 * ms}, 42 * ms, 5250 * time.Microsecond},
		{"three of eight late", []time.Duration{40 * ms, 900 * ms, 40 * ms, 41 * ms, 800 * ms, 40 * ms, 700 * ms, 41 * ms}, 41 * ms, 5125 * time.Microsecond},
		{"a path that varies", []time.Duration{40 * ms, 80 * ms, 60 * ms, 100 * ms, 50 * ms}, 60 * ms, 20 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rtt, dev := estimate(tt.samples...)
			require.Equal(t, tt.rtt, rtt)
			require.Equal(t, tt.dev, dev)
		})
	}
}

// TestEstimateFollows: a path that became longer is believed when most of the
// window tells, and what was before is forgotten.
func TestEstimateFollows(t *testing.T) {
	var r roundTrip
	for range 100 {
		r.sample(40 * ms)
	}
	for i := range rttWindow {
		r.sample(200 * ms)
		rtt, _ := r.get()
		require.Equal(t, i+1 > rttWindow/2, rtt == 200*ms, "%v after %d samples", rtt, i+1)
	}
	_, dev := r.get()
	require.Equal(t, 25*ms, dev)
}

func TestEstimateHasAFloor(t *testing.T) {
	rtt, _ := estimate(0)
	require.Equal(t, time.Microsecond, rtt)
	rtt, dev := estimate(40*ms, -time.Hour, -time.Hour)
	require.Equal(t, time.Microsecond, rtt)
	require.GreaterOrEqual(t, dev, time.Duration(0))
}
