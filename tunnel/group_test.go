package tunnel

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// sharing makes a client one of the group "blue" on a port.
func sharing(name string, port uint16) func(*ClientConfig) {
	return func(cfg *ClientConfig) {
		cfg.Name, cfg.Services[0].Port, cfg.Services[0].Group = name, port, "blue"
	}
}

// telling is a target that says its name and then echoes.
func telling(t testing.TB, name string) string {
	return startTarget(t, func(c *net.TCPConn) {
		io.WriteString(c, name)
		echo(c)
	})
}

// told connects a user and returns which target it met, a letter.
func told(t testing.TB, public string) (string, *net.TCPConn) {
	t.Helper()
	c := dialUser(t, public)
	who := make([]byte, 1)
	_, err := io.ReadFull(c, who)
	require.NoError(t, err)
	return string(who), c
}

// spread wants users to be where they belong. A machine so busy that a client
// looked as if it had failed one tells nothing.
func (h *host) spread(t testing.TB, want, got any) {
	t.Helper()
	if h.log.count("failed a user") > 0 {
		t.Skip("the machine is too busy")
	}
	require.Equal(t, want, got)
}

// TestGroup: each user goes to the client with the fewest, so that they have as
// many each; and where users have left, the next ones come.
func TestGroup(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode pool.TLSMode) {
		h := startServer(t, mode)
		port := freePort(t)
		for _, name := range []string{"a", "b", "c"} {
			startClient(t, h, telling(t, name), sharing(name, port))
		}
		status := h.Stats().Services
		require.Len(t, status, 3)
		public := status[0].Addr
		users := make(map[string][]*net.TCPConn)
		come := func(count int) {
			for range count {
				who, c := told(t, public)
				users[who] = append(users[who], c)
			}
		}
		come(12)
		for _, name := range []string{"a", "b", "c"} {
			h.spread(t, 4, len(users[name]))
		}
		for _, c := range users["b"] {
			c.Close()
		}
		users["b"] = nil
		eventually(t, func() bool { return h.Stats().Open == 8 }, h.log.text)
		come(4)
		h.spread(t, 4, len(users["b"]))
	})
}

// TestGroupLoses: a client of a group is cut off or stops. Its users see that,
// in the latter case after they have finished; who comes next meets the other.
// When it is back it has its part again.
func TestGroupLoses(t *testing.T) {
	h := startServer(t, pool.TLSSelfSigned)
	port := freePort(t)
	var line cable
	first := startClient(t, h, telling(t, "a"), sharing("a", port), func(cfg *ClientConfig) { cfg.Dial = line.dial })
	second := startClient(t, h, telling(t, "b"), sharing("b", port))
	public := first.public(0)
	meet := func(count int) map[string]int {
		met := make(map[string]int)
		for range count {
			who, _ := told(t, public)
			met[who]++
		}
		return met
	}
	h.spread(t, map[string]int{"a": 2, "b": 2}, meet(4))

	line.cut()
	eventually(t, func() bool { return h.Stats().Sessions == 1 }, h.log.text)
	require.Len(t, h.Stats().Services, 1, "a lost client has no part while others are there")
	require.Equal(t, map[string]int{"b": 4}, meet(4))
	line.mend()
	first.up(t)
	require.Equal(t, public, first.public(0))
	met := meet(6) // b has six already
	h.spread(t, map[string]int{"a": 6}, met)

	who, c := told(t, public)
	for who != "b" {
		who, c = told(t, public)
	}
	second.stop() // drains
	eventually(t, func() bool { return len(h.Stats().Services) == 1 }, h.log.text)
	require.Equal(t, 3, meet(3)["a"])
	send(t, c, "still here")
	receive(t, c, "still here")

	// The last one's part is as if it was alone: its users are held.
	line.cut()
	eventually(t, func() bool { return !h.Stats().Services[0].Up }, h.log.text)
	held := dialUser(t, public)
	line.mend()
	receive(t, held, "a")
}

// TestGroupPortZero: clients that leave the port to the server, and come at the
// same time, share the one that it chose; by group and name.
func TestGroupPortZero(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	var all sync.WaitGroup
	addrs := make(chan string, 8)
	for i := range cap(addrs) {
		cfg := h.clientConfig(telling(t, "x"))
		sharing(fmt.Sprint("client ", i), 0)(&cfg)
		g := runClient(t, cfg)
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := g.Up(ctx); err != nil {
				t.Error(err)
			}
			addrs <- g.public(0)
		})
	}
	all.Wait()
	close(addrs)
	ports := make(map[string]int)
	for a := range addrs {
		ports[a]++
	}
	require.Len(t, ports, 1)
	h.mu.Lock()
	require.Equal(t, 1, h.portsLocked())
	h.mu.Unlock()
	other := startClient(t, h, telling(t, "y"), sharing("other", 0), func(cfg *ClientConfig) { cfg.Services[0].Name = "other" })
	require.Zero(t, ports[other.public(0)], "another name is another service")
}

// TestGroupDenies: who is not of the group is told why not, and of another key's
// clients nothing.
func TestGroupDenies(t *testing.T) {
	stranger := pool.NewKey()
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Keys = append(cfg.Keys, stranger) })
	port := freePort(t)
	holder := startClient(t, h, telling(t, "a"), sharing("holder", port))
	for _, tt := range []struct {
		name   string
		change func(*ClientConfig)
		reason string
	}{
		{"no group", func(cfg *ClientConfig) { cfg.Services[0].Group = "" }, `is held by client "holder", for its group "blue"`},
		{"another group", func(cfg *ClientConfig) { cfg.Services[0].Group = "red" }, `is held by client "holder", for its group "blue"`},
		{"another name", func(cfg *ClientConfig) { cfg.Services[0].Name = "page" }, `is held by client "holder", and its group knows it as service "web"`},
		{"another key", func(cfg *ClientConfig) { cfg.Key = stranger }, "is held by a client with another key"},
		{"other users", func(cfg *ClientConfig) {
			cfg.Services[0].AllowFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}, `is held by client "holder", and its group lets in other users`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := h.clientConfig("localhost:1")
			sharing("asks", port)(&cfg)
			tt.change(&cfg)
			g := runClient(t, cfg)
			line := g.log.find(t, tt.reason)
			if tt.name == "another key" {
				require.NotContains(t, line, "blue")
				require.NotContains(t, line, "holder")
			}
		})
	}
	who, _ := told(t, holder.public(0))
	require.Equal(t, "a", who)
	works := startClient(t, h, telling(t, "b"), sharing("second", port))
	require.Equal(t, holder.public(0), works.public(0))
}

// TestChoose holds the choice of a client against its model: of those that are
// up and trusted the one with the fewest users, and those with as few in turn.
func TestChoose(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	port := freePort(t)
	for i := range 4 {
		startClient(t, h, "localhost:1", sharing(fmt.Sprint(i), port))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var sv *published
	for _, p := range h.publishers {
		if len(p.services) > 0 {
			sv = p.services[0]
		}
	}
	require.Len(t, sv.backends, 4)
	var visits []*visit
	come := func() *visit {
		v := &visit{server: h.Server, service: sv}
		b := sv.chooseLocked(v)
		for _, other := range sv.backends {
			require.LessOrEqual(t, b.open.Load(), other.open.Load())
		}
		v.goToLocked(b)
		visits = append(visits, v)
		return v
	}
	met := make(map[*backend]int)
	for range 4 {
		v := come()
		met[v.backend]++
		v.leaveBackend()
	}
	require.Len(t, met, 4, "ties go in turn")
	visits = nil
	for range 5000 {
		if len(visits) > 0 && rand.IntN(5) < 2 {
			i := rand.IntN(len(visits))
			visits[i].leaveBackend()
			visits[i] = visits[len(visits)-1]
			visits = visits[:len(visits)-1]
			continue
		}
		come()
	}
	sv.backends[2].trust.failed(time.Now().Add(time.Hour)) // so that no trial is due
	for range 100 {
		v := &visit{server: h.Server, service: sv}
		require.NotEqual(t, sv.backends[2], sv.chooseLocked(v))
		v.goToLocked(sv.chooseLocked(v))
	}
	for _, b := range sv.backends {
		b.trust.failed(time.Now().Add(time.Hour))
	}
	require.NotNil(t, sv.chooseLocked(&visit{}), "where all failed, one is as good as another")
}
