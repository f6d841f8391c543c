package tunnel

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// replica is one of several targets that answer with their name, and can be taken
// down and brought back.
type replica struct {
	name, address string
	served        atomic.Int64
	listener      net.Listener
	running       sync.WaitGroup
}

func startReplica(t *testing.T, name string) *replica {
	t.Helper()
	r := &replica{name: name, address: "127.0.0.1:0"}
	r.open(t)
	t.Cleanup(r.down)
	return r
}

func (r *replica) open(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", r.address)
	require.NoError(t, err)
	r.listener, r.address = l, l.Addr().String()
	r.running.Go(func() { // ends when the listener closes
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { // ends with the user
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				if _, err := io.ReadAll(c); err == nil {
					r.served.Add(1)
					io.WriteString(c, r.name)
				}
			})
		}
	})
}

func (r *replica) down() {
	r.listener.Close()
	r.running.Wait()
}

// whoServes is one user, who learns which replica served it.
func whoServes(address string) (string, error) {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return "", err // reset as early as that
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "who?"); err != nil {
		return "", err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	name, err := io.ReadAll(c)
	return string(name), err
}

// TestTargetsTakeTurns: users are shared evenly, in every mode and on carriers.
func TestTargetsTakeTurns(t *testing.T) {
	share := func(t *testing.T, start func(target string) *guest) {
		a, b, c := startReplica(t, "a"), startReplica(t, "b"), startReplica(t, "c")
		g := start(strings.Join([]string{a.address, b.address, c.address}, ","))
		for range 30 {
			_, err := whoServes(g.public(0))
			require.NoError(t, err)
		}
		require.Equal(t, []int64{10, 10, 10}, []int64{a.served.Load(), b.served.Load(), c.served.Load()})
	}
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		share(t, func(target string) *guest { return startClient(t, startServer(t, mode), target) })
	})
	t.Run("carried", func(t *testing.T) { share(t, func(target string) *guest { return onCarriers(t, target) }) })
}

// onCarriers is a client whose one pooled connection has a user already, who says
// nothing, so that all others come on carriers.
func onCarriers(t *testing.T, target string, change ...func(*ClientConfig)) *guest {
	t.Helper()
	h := startServer(t, pool.TLSPlain, onePooled)
	g := startClient(t, h, target, append(change, func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = 1, 1 })...)
	carriersUp(t, h, g.cfg.Load().Carriers)
	g.dial(t)
	eventually(t, func() bool { return g.Stats().Streams == 1 }, g.log.text)
	t.Cleanup(func() {
		require.Equal(t, h.Stats().Streams-1, h.Stats().Carried)
	})
	return g
}

// TestFailoverUnderLoad: of two targets one is killed and comes back, while users
// come without a pause. Who comes after the kill is served, and nobody has to
// wait; the log tells once that it is down and once that it is back.
func TestFailoverUnderLoad(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		const workers = 8
		a, b := startReplica(t, "a"), startReplica(t, "b")
		h := startServer(t, mode)
		g := startClient(t, h, a.address+","+b.address)
		var killed atomic.Bool
		var lost, served, after atomic.Int64
		stop := make(chan struct{})
		var users sync.WaitGroup
		for range workers {
			users.Go(func() { // ends with stop
				for {
					select {
					case <-stop:
						return
					default:
					}
					late := killed.Load()
					_, err := whoServes(g.public(0))
					switch {
					case err == nil && late:
						after.Add(1)
					case err == nil:
						served.Add(1)
					case late:
						t.Errorf("a user who came after the kill: %v", err)
					default:
						lost.Add(1) // it was in the target's queue
					}
				}
			})
		}
		until := func(what string, ok func() bool) {
			t.Helper()
			eventually(t, ok, func() string { return what + "\n" + g.log.tail() })
		}
		until("the first users", func() bool { return served.Load() >= 200 })
		require.InDelta(t, a.served.Load(), b.served.Load(), 2*workers)
		a.down()
		killed.Store(true)
		until("users after the kill", func() bool { return after.Load() >= 400 })
		a.open(t)
		back := a.served.Load()
		until("the share of the one that is back", func() bool { return a.served.Load() >= back+100 })
		close(stop)
		users.Wait()
		require.LessOrEqual(t, lost.Load(), int64(workers), "at most those that the target had taken")
		// Once, or twice: a dial that succeeded as it went down may be heard of
		// behind one that failed.
		downs := g.log.count("; users go to others, 1 of 2 targets are well")
		require.Contains(t, []int{1, 2}, downs)
		require.Equal(t, downs, g.log.count("target "+a.address+" is well again; 2 of 2 are"))
		t.Logf("%d users before the kill, of whom %d were lost, %d after it", served.Load()+lost.Load(), lost.Load(), after.Load())
	})
}

// TestNoTargetLeft: users are reset for the last reason, and the log tells what is
// the matter with each target, once.
func TestNoTargetLeft(t *testing.T) {
	a, b := startReplica(t, "a"), startReplica(t, "b")
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, a.address+","+b.address)
	a.down()
	b.down()
	for range 5 {
		_, err := whoServes(g.public(0))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	require.Equal(t, 1, g.log.count("since no target is left: target "), g.log.text())
	for _, r := range []*replica{a, b} {
		require.Equal(t, 1, g.log.count("target "+r.address+" refused the connection: is it running?; users go to others"), g.log.text())
	}
	require.EqualValues(t, 5, g.Stats().Refused)
}

// TestHealthInTunnel: a target whose health page says that it is not well gets no
// users, though it would take them.
func TestHealthInTunnel(t *testing.T) {
	var sick atomic.Bool
	site := func(name string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" && name == "a" && sick.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			io.WriteString(w, name)
		})}
		var serving sync.WaitGroup
		serving.Go(func() { s.Serve(l) }) // ends with Close
		t.Cleanup(func() { s.Close(); serving.Wait() })
		return l.Addr().String()
	}
	a, b := site("a"), site("b")
	h := startServer(t, pool.TLSSelfSigned)
	g := startClient(t, h, a+","+b, func(cfg *ClientConfig) {
		cfg.Services[0].Health, cfg.Services[0].HealthInterval = "http:/healthz", MinHealthInterval
	})
	get := func() string {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		answer, err := client.Get("http://" + g.public(0))
		require.NoError(t, err)
		defer answer.Body.Close()
		name, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return string(name)
	}
	require.Equal(t, "ab", get()+get())
	sick.Store(true)
	g.log.find(t, "target "+a+" is not well: GET /healthz is answered with status 503; users go to others, 1 of 2 targets are well")
	for range 10 {
		require.Equal(t, "b", get())
	}
	sick.Store(false)
	g.log.find(t, "target "+a+" is well again; 2 of 2 are")
	one, two := get(), get()
	require.Contains(t, []string{"ab", "ba"}, one+two)
	require.Equal(t, 1, g.log.count("is not well"))
}

// TestHealthOfOneTarget only tells of it: its users have nowhere else to go.
func TestHealthOfOneTarget(t *testing.T) {
	a := startReplica(t, "a")
	h := startServer(t, pool.TLSPlain)
	g := startClient(t, h, a.address, func(cfg *ClientConfig) {
		cfg.Services[0].Health, cfg.Services[0].HealthInterval = "tcp", MinHealthInterval
	})
	a.down()
	g.log.find(t, `Service "web": target `+a.address+" refused the connection: is it running?")
	a.open(t)
	g.log.find(t, `Service "web": target `+a.address+" is well again")
	name, err := whoServes(g.public(0))
	require.NoError(t, err)
	require.Equal(t, "a", name)
}

// TestUnixTarget: a service behind a Unix socket is served in every mode and on
// carriers, half-closes included.
func TestUnixTarget(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("targets are TCP there, as a rule")
	}
	play := func(t *testing.T, start func(target string) *guest) {
		dir, err := os.MkdirTemp("", "") // a test's own has too long a name for a socket
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		path := filepath.Join(dir, "s")
		l, err := net.Listen("unix", path)
		require.NoError(t, err)
		var serving sync.WaitGroup
		serving.Go(func() { // ends when the listener closes
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Go(func() { // ends with the user
					defer c.Close()
					c.SetDeadline(time.Now().Add(patience))
					all, _ := io.ReadAll(c)
					fmt.Fprintf(c, "%d bytes", len(all))
				})
			}
		})
		t.Cleanup(func() { l.Close(); serving.Wait() })
		g := start("unix:" + path)
		for range 5 {
			user := g.dial(t)
			sent := make(chan error, 1)
			go func() { // ends when the target has taken it
				_, err := user.Write(make([]byte, 1<<20))
				user.CloseWrite()
				sent <- err
			}()
			answer, err := io.ReadAll(user)
			require.NoError(t, err)
			require.NoError(t, <-sent)
			require.Equal(t, "1048576 bytes", string(answer))
			user.Close()
		}
		require.Empty(t, g.Stats().Pool.Closed, "users cost connections")
	}
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		play(t, func(target string) *guest { return startClient(t, startServer(t, mode), target) })
	})
	t.Run("carried", func(t *testing.T) { play(t, func(target string) *guest { return onCarriers(t, target) }) })
}
