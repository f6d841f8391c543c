package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
)

// What becomes of users who were offered and not taken when the control
// connection is lost, and the client comes back.

// beat makes a lost control connection known soon.
const beat = 200 * time.Millisecond

// overLosses starts a server and a client whose ports stay the same over its
// sessions, over a link. The configuration runs the client again.
func overLosses(t *testing.T, mode pool.TLSMode, target string, size int) (*host, *guest, *faults.Link, ClientConfig) {
	h := startServer(t, mode, func(cfg *ServerConfig) { cfg.Heartbeat = beat })
	link, err := faults.NewLink(h.addr(), time.Millisecond)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	cfg := h.clientConfig(target)
	cfg.PoolMin, cfg.PoolMax = size, size
	cfg.Identity = [16]byte{1, 2, 3}
	cfg.Services[0].Port = freePort(t)
	cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
	g := runClient(t, cfg).up(t)
	eventually(t, func() bool {
		s := h.Stats()
		return len(s.Pools) == 1 && s.Pools[0].Idle == size && g.Stats().RoundTrip > 0
	}, func() string { return fmt.Sprintf("the pool is not warm: %+v", g.Stats().Pool) })
	return h, g, link, cfg
}

// ask has a user say one request and its end, and returns what it was told.
func ask(user *net.TCPConn, request string) (string, error) {
	io.WriteString(user, request)
	user.CloseWrite()
	answer, err := io.ReadAll(user)
	return string(answer), err
}

// TestControlLostBeforeTheAnswer: users are announced on a control connection
// that is dead already. The client returns, is asked there, and each user is
// served, once; with those who come first on the new session in between.
func TestControlLostBeforeTheAnswer(t *testing.T) {
	const size = 8
	for name, all := range map[string]bool{"control only": false, "all connections": true} {
		for _, mode := range []pool.TLSMode{pool.TLSPlain, pool.TLSSelfSigned} {
			t.Run(name+", mode "+string(mode), func(t *testing.T) {
				target := &counting{seen: make(map[string]int)}
				h, g, link, _ := overLosses(t, mode, startTarget(t, target.serve), size)
				if all {
					link.Mute(0, link.Carried())
				} else {
					link.Mute(0, 1)
				}
				var users sync.WaitGroup
				public := g.public(0)
				come := func(request string) {
					user := dialUser(t, public)
					users.Go(func() {
						answer, err := ask(user, request)
						if err != nil || answer != "got "+request {
							t.Errorf("%s was told %q, %v", request, answer, err)
						}
					})
				}
				for i := range size {
					come(fmt.Sprintf("request %d", i))
				}
				eventually(t, func() bool { return h.log.count("joined") == 2 && len(h.Stats().Services) == 1 }, h.log.text)
				for i := range size {
					come(fmt.Sprintf("newcomer %d", i))
				}
				users.Wait()
				target.mu.Lock()
				defer target.mu.Unlock()
				require.Len(t, target.seen, 2*size)
				for request, times := range target.seen {
					require.Equal(t, 1, times, "%q reached the target %d times", request, times)
				}
				s := h.Stats()
				require.Zero(t, s.NoAck)
				require.Positive(t, s.Replays)
				t.Logf("asked %d times, offered again %d times", s.Asked, s.Replays)
			})
		}
	}
}

// TestControlLostBetweenAttempts: a user whose connection was dead waits for
// another one when control is lost too. The client's next session serves it.
func TestControlLostBetweenAttempts(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Heartbeat = beat })
	link, err := faults.NewLink(h.addr(), time.Millisecond)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	target := &counting{seen: make(map[string]int)}
	cfg := h.clientConfig(startTarget(t, target.serve))
	cfg.PoolMin, cfg.PoolMax = 1, 1
	var held atomic.Bool
	cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		if held.Load() {
			return nil, errors.New("no way there")
		}
		return link.Dial(ctx)
	}
	g := runClient(t, cfg).up(t)
	eventually(t, func() bool { return h.Stats().Pools[0].Idle == 1 && g.Stats().RoundTrip > 0 }, h.log.text)
	held.Store(true)
	link.Mute(1, link.Carried())
	user := g.dial(t)
	send(t, user, "request")
	eventually(t, func() bool { s := h.Stats(); return len(s.Pools) == 1 && s.Pools[0].Waiting == 1 }, h.log.text)
	link.Mute(0, link.Carried())
	eventually(t, func() bool { return h.Stats().Sessions == 0 }, h.log.text)
	held.Store(false)
	require.NoError(t, user.CloseWrite())
	answer, err := io.ReadAll(user)
	require.NoError(t, err)
	require.Equal(t, "got request", string(answer))
	require.EqualValues(t, 1, h.Stats().Replays)
	traffic := serviceNamed(t, h.Stats().Services, "web").Traffic
	require.EqualValues(t, 1, traffic.Retries)
	require.EqualValues(t, len("request"), traffic.FromUsers, "what was sent twice came once")
	require.EqualValues(t, len("got request"), traffic.ToUsers)
	require.EqualValues(t, 1, traffic.FirstByte.Count())
}

// deaf is a connection of a client whose writes vanish once it is told.
type deaf struct {
	net.Conn
	lost <-chan struct{}
}

func (d deaf) Write(b []byte) (int, error) {
	select {
	case <-d.lost:
		return len(b), nil
	default:
		return d.Conn.Write(b)
	}
}

func (d deaf) NetConn() net.Conn { return d.Conn }

// TestCommittedIsNotServedTwice: the client takes a user, and neither its ACK
// nor its answer arrives. It tells so on the next session: the user is reset,
// and the target's connection too.
func TestCommittedIsNotServedTwice(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Heartbeat = beat })
	target := &counting{seen: make(map[string]int)}
	cfg := h.clientConfig(startTarget(t, target.serve))
	cfg.PoolMin, cfg.PoolMax = 1, 1
	lost := make(chan struct{})
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		select {
		case <-lost:
			return conn, err // the next session hears and is heard
		default:
			return deaf{conn, lost}, err
		}
	}
	g := runClient(t, cfg).up(t)
	eventually(t, func() bool { return h.Stats().Pools[0].Idle == 1 }, h.log.text)
	close(lost) // before START, which a user need not speak for
	user := g.dial(t)
	answer, err := ask(user, "once")
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Empty(t, answer)
	t.Log(h.log.find(t, "lost: no acknowledgement"))
	eventually(t, func() bool { return h.Stats().NoAck == 1 }, h.log.text)
	require.Zero(t, h.Stats().Replays)
	target.mu.Lock()
	defer target.mu.Unlock()
	require.LessOrEqual(t, target.seen["once"], 1)
}

// TestClientStartedAnew: it remembers nothing. Only users who said nothing are
// offered again.
func TestClientStartedAnew(t *testing.T) {
	target := &counting{seen: make(map[string]int)}
	h, g, link, cfg := overLosses(t, pool.TLSSelfSigned, startTarget(t, target.serve), 4)
	link.Mute(0, link.Carried())
	silent, spoke := g.dial(t), g.dial(t)
	send(t, spoke, "request")
	eventually(t, func() bool { return h.Stats().Streams >= 2 }, h.log.text)
	g.Close()
	<-g.done
	runClient(t, cfg).up(t)
	_, err := io.ReadAll(spoke)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	// Until it is offered again, what it says would count as said before.
	eventually(t, func() bool { return h.Stats().Replays == 1 }, h.log.text)
	answer, err := ask(silent, "later")
	require.NoError(t, err)
	require.Equal(t, "got later", answer)
	target.mu.Lock()
	defer target.mu.Unlock()
	require.Equal(t, map[string]int{"later": 1}, target.seen)
	eventually(t, func() bool { s := h.Stats(); return s.NoAck == 1 && s.Replays == 1 }, h.log.text) // counted at a visit's end
}

// TestCrowdOnSmallPool: many users at once on few connections are all served,
// however slow that makes the ends.
func TestCrowdOnSmallPool(t *testing.T) {
	const users, size = 300, 8
	target := &counting{seen: make(map[string]int)}
	h := startServer(t, pool.TLSSelfSigned)
	g := startClient(t, h, startTarget(t, target.serve), func(cfg *ClientConfig) { cfg.PoolMin, cfg.PoolMax = size, size })
	public := g.public(0)
	var crowd sync.WaitGroup
	errs := make(chan error, users)
	for i := range users {
		crowd.Go(func() {
			conn, err := net.Dial("tcp", public)
			if err != nil {
				errs <- err
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			request := fmt.Sprintf("request %d %s", i, strings.Repeat("x", i*7%3000))
			answer, err := ask(conn.(*net.TCPConn), request)
			if err == nil && answer != "got "+request {
				err = fmt.Errorf("user %d was told %d bytes", i, len(answer))
			}
			errs <- err
		})
	}
	crowd.Wait()
	close(errs)
	var failed []error
	for err := range errs {
		if err != nil {
			failed = append(failed, err)
		}
	}
	require.NoError(t, errors.Join(failed...))
	s := h.Stats()
	t.Logf("%d users on %d connections: asked %d times, offered again %d times, no ACK %d",
		users, size, s.Asked, s.Replays, s.NoAck)
	require.Zero(t, s.NoAck)
	target.mu.Lock()
	defer target.mu.Unlock()
	require.Len(t, target.seen, users)
	for request, times := range target.seen {
		require.Equal(t, 1, times, "%q", request)
	}
}
