package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rounds is how often a fault with a bound in time is caused.
const rounds = 3

// TestClientKilled: users who come while the client is gone are held, and
// served by the one that is started in its place. Only those whom the killed one
// served are cut, and see it.
func TestClientKilled(t *testing.T) {
	for _, c := range []struct {
		name   string
		away   time.Duration
		every  time.Duration // a user
		rounds int
	}{
		{"and restarted at once", 0, 5 * time.Millisecond, rounds},
		{"and away for 2 s", 2 * time.Second, 20 * time.Millisecond, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, address, key := startServer(t)
			d := openDesk(t, listenHere(t))
			at := newHost(t, key)
			echoing := listenHere(t)
			serve(t, echoing, repeat)
			port, echoPort := freePort(t), freePort(t)
			public, echo := "127.0.0.1:"+port, "127.0.0.1:"+echoPort
			args := []string{"--server", address, "-R", port + ":" + d.address, "-R", echoPort + ":" + echoing.Addr().String()}
			client := at.start("tunnel-client", args...)
			client.line(`is up: `)
			var firsts []time.Duration
			for range c.rounds {
				open := beginTalk(t, fromHere, echo)
				open.say("before")
				client.kill()
				open.cut()
				users := gather(c.every, func() visit { return dialer(fromHere).call(public) })
				if c.away > 0 {
					time.Sleep(c.away)
				}
				started := time.Now()
				client = at.start("tunnel-client", args...)
				users.await(t, "served after the restart", served)
				client.line(`is up: `)
				all := users.disperse()
				d.requireAllServed(t, all)
				first, held := firstServed(all), 0
				for _, v := range all {
					if v.connected.Before(started) {
						held++
					}
				}
				firsts = append(firsts, first.Sub(started))
				if c.away > 0 {
					require.Greater(t, held, 1, "users who connected while there was no client")
				}
				t.Logf("first user served %v after the client's start, before which %d had connected; %s", round(first.Sub(started)), held, figures(all))
			}
			holdMedian(t, "first user served after the client's start", 300*time.Millisecond, firsts)
		})
	}
}

// TestServerKilled: the client is back by itself, with its port.
func TestServerKilled(t *testing.T) {
	d := openDesk(t, listenHere(t))
	tunnel, public := freePort(t), freePort(t)
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
		users.await(t, "served after the restart", served)
		all := users.disperse()
		first := firstServed(all)
		firsts = append(firsts, first.Sub(started))
		for _, v := range all {
			if v.begun.After(first) {
				require.NoError(t, v.err, "a user who came when the service was up again")
			}
		}
		d.requireOnce(t)
		server.line(`is up on `)
	}
	holdMedian(t, "first user served after the server's start", time.Second, firsts)
}
