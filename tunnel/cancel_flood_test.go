package tunnel

import (
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestEndlessCancels: a server that cancels without end, streams it never
// opened or one whose connection never comes, grows neither the client's
// memory nor its goroutines beyond their bounds.
func TestEndlessCancels(t *testing.T) {
	const count = 200_000
	for name, number := range map[string]func(i uint32) uint32{
		"never opened":       func(i uint32) uint32 { return 2 + i },
		"its own connection": func(uint32) uint32 { return 1 },
	} {
		t.Run(name, func(t *testing.T) {
			key := pool.NewKey()
			said := make(chan struct{}, 1)
			addr := fakeServer(t, key, func(control net.Conn) {
				b := wire.AppendMessage(nil, wire.Open{Stream: 1, ID: [8]byte([]byte("NOTHERE!"))})
				for i := range uint32(count) {
					b = wire.AppendMessage(b, wire.Cancel{Stream: number(i)})
					if len(b) > 16<<10 || i == count-1 {
						if _, err := control.Write(b); err != nil {
							break
						}
						b = b[:0]
					}
				}
				select {
				case said <- struct{}{}:
				default: // a later session
				}
			})
			before := runtime.NumGoroutine()
			g := runClient(t, ClientConfig{Server: addr, Key: key, TLS: pool.TLSPlain, PoolMin: 1, Services: []Service{{Name: "web", Target: "localhost:1"}}})
			most := 0
			eventually(t, func() bool {
				most = max(most, runtime.NumGoroutine()-before)
				select {
				case <-said:
					return true
				default:
					return false
				}
			}, g.log.text)
			require.Less(t, most, maxPending+100)
			eventually(t, func() bool { return g.numbers.announced.answers.Load() == 0 && g.active.count() == 0 }, g.log.text)
			g.numbers.announced.mu.Lock()
			defer g.numbers.announced.mu.Unlock()
			require.Empty(t, g.numbers.announced.announced)
			t.Logf("%d cancels: at most %d goroutines more, last number %d", count, most, g.numbers.announced.outcomes.Last())
		})
	}
}
