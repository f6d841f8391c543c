package slack

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDue(t *testing.T) {
	const mb = 1 << 20
	before := look{allocated: 500 * mb}
	for _, tt := range []struct {
		what string
		now  look
		want bool
	}{
		{"nothing to give back", look{allocated: 500 * mb, alive: 2 * mb, slack: mb}, false},
		{"a small program", look{allocated: 500 * mb, alive: 2 * mb, slack: 3 * mb}, false},
		{"a small program after a burst", look{allocated: 500 * mb, alive: 2 * mb, slack: 5 * mb}, true},
		{"little beside what is alive", look{allocated: 500 * mb, alive: 80 * mb, slack: 9 * mb}, false},
		{"after a burst", look{allocated: 501 * mb, alive: 80 * mb, slack: 70 * mb}, true},
		{"in the middle of one", look{allocated: 540 * mb, alive: 80 * mb, slack: 70 * mb}, false},
		{"a steady trickle, not yet", look{allocated: 501 * mb, alive: 80 * mb, slack: 40 * mb}, false},
		{"a steady trickle", look{allocated: 501 * mb, alive: 80 * mb, slack: 64 * mb}, true},
	} {
		require.Equal(t, tt.want, tt.now.due(before), tt.what)
	}
}

// TestRelease: garbage goes back to the system although nothing else would make
// the collector look.
func TestRelease(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const size, pieces = 1 << 20, 64
	for range pieces {
		garbage = make([]byte, size)
	}
	garbage = nil
	require.Greater(t, held(), uint64(size*pieces))
	defer Release()()
	limit := time.Now().Add(30 * time.Second)
	for held() > size*pieces/2 {
		require.True(t, time.Now().Before(limit), "%d bytes are still held", held())
		time.Sleep(10 * time.Millisecond)
	}
}

var garbage []byte // a package's variable, so that it is on the heap

// held is what the heap has of the system.
func held() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys - m.HeapReleased
}
