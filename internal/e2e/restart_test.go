package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rounds is how often a fault with a bound in time is caused.
const rounds = 3

// TestClientKilled: users who come while the client is gone are held, and
// served by the one that is started in its place.
func TestClientKilled(t *testing.T) {
	for _, c := range []struct {
		name   string
		away   time.Duration
		rounds int
	}{{"and restarted at once", 0, rounds}, {"and away for 2 s", 2 * time.Second, 1}} {
		t.Run(c.name, func(t *testing.T) {
			_, address, key := startServer(t)
			d := openDesk(t, listenHere(t))
			at := newHost(t, key)
			port := steadyPort(t)
			public := "127.0.0.1:" + port
			args := []string{"--server", address, "-R", port + ":" + d.address}
			client := at.start("tunnel-client", args...)
			client.line(`is up: `)
			var firsts []time.Duration
			for range c.rounds {
				client.kill()
				users := gather(20*time.Millisecond, func() visit { return dialer(fromHere).call(public) })
				if c.away > 0 {
					time.Sleep(c.away)
				}
				started := time.Now()
				client = at.start("tunnel-client", args...)
				first := users.await(t, "served after the restart", served)
				firsts = append(firsts, first.first.Sub(started))
				client.line(`is up: `)
				all := users.disperse()
				d.requireAllServed(t, all)
				if c.away > 0 {
					require.True(t, first.connected.Before(started), "connected while there was no client")
				}
				t.Logf("%v after the client's start; %s", round(firsts[len(firsts)-1]), figures(all))
			}
			holdMedian(t, "first user served after the client's start", 300*time.Millisecond, firsts)
		})
	}
}

// TestServerKilled: the client is back by itself, with its port.
func TestServerKilled(t *testing.T) {
	d := openDesk(t, listenHere(t))
	tunnel, public := steadyPort(t), steadyPort(t)
	key := newKey()
	at := newHost(t, key)
	serverArgs := []string{"--listen", "127.0.0.1:" + tunnel, "--bind", "127.0.0.1"}
	server := at.start("tunnel-server", serverArgs...)
	server.line(listening)
	client := startClient(t, key, "127.0.0.1:"+tunnel, "-R", public+":"+d.address)
	client.line(`is up: `)
	var firsts []time.Duration
	for range rounds {
		server.kill()
		started := time.Now()
		server = at.start("tunnel-server", serverArgs...)
		users := gather(10*time.Millisecond, func() visit { return dialer(fromHere).call("127.0.0.1:" + public) })
		first := users.await(t, "served after the restart", served)
		firsts = append(firsts, first.first.Sub(started))
		for _, v := range users.disperse() {
			if v.begun.After(first.first) {
				require.NoError(t, v.err, "a user who came when the service was up again")
			}
		}
		d.requireOnce(t)
		server.line(`is up on `)
	}
	holdMedian(t, "first user served after the server's start", time.Second, firsts)
}
