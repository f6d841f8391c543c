package e2e

import (
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTargetsExample runs the command of docs/TARGETS.md, with two replicas of
// which one is killed under load.
func TestTargetsExample(t *testing.T) {
	t.Parallel()
	const site = `location / { return 200 "%s"; }`
	replicas := map[string]*nginx{}
	for _, name := range []string{"one", "two"} {
		replicas[name] = startNginx(t, "", strings.Replace(site, "%s", name, 1))
	}
	_, address, key := startServer(t)
	public := freePort(t)
	client := newHost(t, key).start("tunnel-client", documented(t, "TARGETS.md", "tunnel-client",
		"HOST", address, "8080", public, "3001", replicas["one"].port, "3002", replicas["two"].port)...)
	client.line(`Service "web" is up: 127\.0\.0\.1:` + public + ` leads to localhost:\d+,localhost:\d+ `)

	const crowdSize = 4
	users := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	var killed, stop atomic.Bool
	var mu sync.Mutex // guards served
	served := map[string]int{}
	lost := 0
	var crowd sync.WaitGroup
	for range crowdSize {
		crowd.Go(func() { // ends with stop
			for !stop.Load() {
				late := killed.Load()
				by, err := get(users, "http://127.0.0.1:"+public)
				mu.Lock()
				if err == nil {
					served[by]++
				} else {
					lost++
					if late {
						t.Errorf("a user who came after the kill: %v", err)
					}
				}
				mu.Unlock()
			}
		})
	}
	defer crowd.Wait() // not when the test is over
	defer stop.Store(true)
	count := func(name string) int { mu.Lock(); defer mu.Unlock(); return served[name] }
	until := func(what string, ok func() bool) {
		t.Helper()
		require.Eventually(t, ok, patience, time.Millisecond, what)
	}
	until("users of both", func() bool { return count("one") >= 100 && count("two") >= 100 })
	require.InDelta(t, count("one"), count("two"), 2*crowdSize)
	replicas["one"].kill()
	killed.Store(true)
	before := count("two")
	until("users of the other", func() bool { return count("two") >= before+200 })
	// A dial under way when it was killed is reset.
	client.line(`WARN +Service "web": target localhost:` + replicas["one"].port + ` (refused the connection: is it running\?|cannot be reached: .*connection reset by peer); users go to others, 1 of 2 targets are well`)
	replicas["one"].restart()
	client.line(`INFO +Service "web": target localhost:` + replicas["one"].port + ` is well again; 2 of 2 are`)
	before = count("one")
	until("users of the one that is back", func() bool { return count("one") >= before+100 })
	stop.Store(true)
	crowd.Wait()
	require.LessOrEqual(t, lost, crowdSize, "users that it had when it was killed")
	require.LessOrEqual(t, client.count("users go to others"), 1)
	t.Logf("%v served, %d lost by the kill", served, lost)
	client.stop()
}

func get(users *http.Client, url string) (string, error) {
	answer, err := users.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", os.ErrInvalid
	}
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

// TestUnixSocketTarget publishes a real server that listens on a Unix socket.
func TestUnixSocketTarget(t *testing.T) {
	t.Parallel()
	site := startNginx(t, "unix", `location / { return 200 "from a socket"; }`)
	_, address, key := startServer(t)
	client := startClient(t, key, address, "-R", "web=0:unix:"+site.socket, "--health", "http:/")
	at := client.line(`Service "web" is up: (\S+) leads to unix:/\S+ \(`)[1]
	require.Equal(t, "from a socket", fetch(t, at))
	client.stop()
}
