package tunnel

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestRightsOfAKey: what a key may not do is denied with its name; what changes
// holds at once, and spares users who are being served.
func TestRightsOfAKey(t *testing.T) {
	p := startPeople(t, pool.TLSPlain)
	first, second := freePort(t), freePort(t)
	target := startTarget(t, echo)
	p.anna.Ports = strconv.Itoa(int(first))
	p.set(t, p.anna, p.ben)
	anna := p.client(t, p.anna, target, func(cfg *ClientConfig) {
		cfg.Services = []Service{{Name: "one", Port: first, Target: target}, {Name: "two", Port: second, Target: target}}
	})
	line := anna.log.find(t, `Service "two" is not up`)
	require.Contains(t, line, fmt.Sprintf(`key "anna" may publish %d only; the server's operator can change that: tunnel-server key`, first))
	eventually(t, func() bool { return anna.Services()[0].Up }, anna.log.text)
	user := dialUser(t, anna.public(0))
	send(t, user, "in")
	receive(t, user, "in")

	p.anna.Ports = strconv.Itoa(int(second))
	p.set(t, p.anna, p.ben)
	eventually(t, func() bool { return anna.Services()[1].Up && !anna.Services()[0].Up }, anna.log.text)
	send(t, user, "still in")
	receive(t, user, "still in")
	_, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(first))), patience)
	require.Error(t, err, "a port that it may not have any more")
	p.log.find(t, `is asked to join again: the rights of key "anna" have changed`)

	// The server's choice is one that the key may have; of these none is free.
	ben := p.ben
	ben.Ports = strconv.Itoa(int(second))
	p.set(t, p.anna, ben)
	chosen := p.client(t, ben, target)
	chosen.log.find(t, "no allowed port is free")
	ben.Ports = noneAtAll
	p.set(t, p.anna, ben)
	chosen.log.find(t, "no allowed port is free")
	p.set(t, p.anna, p.ben)
	works(t, chosen.up(t))
}

// TestStreamsOfAKey: all users of a key share its places, over its clients and
// services; others have their own.
func TestStreamsOfAKey(t *testing.T) {
	p := startPeople(t, pool.TLSPlain, func(cfg *ServerConfig) { cfg.Wait = 200 * time.Millisecond })
	p.anna.MaxStreams = 2
	p.set(t, p.anna, p.ben)
	target := startTarget(t, echo)
	one, two := p.client(t, p.anna, target).up(t), p.client(t, p.anna, target).up(t)
	ben := p.client(t, p.ben, target).up(t)
	in := func(g *guest) net.Conn {
		user := g.dial(t)
		send(t, user, "in")
		receive(t, user, "in")
		return user
	}
	first, _ := in(one), in(two)
	turnsAway(t, one.public(0))
	t.Log(p.log.find(t, `key "anna" may have 2 users at the same time; see its max-streams`))
	in(ben)
	first.Close()
	eventually(t, func() bool { return p.Stats().Open == 2 }, p.log.text)
	in(two)
	p.anna.MaxStreams = 3
	p.set(t, p.anna, p.ben)
	eventually(t, func() bool { return p.ring.Grants()[0].MaxStreams == 3 }, p.log.text)
	third := in(two)
	require.Equal(t, 3, p.log.count("joined"), "nobody had to join anew")
	third.Close()
}

// TestSharesOfKeysThatCome: with a second key the holder of the first has half
// from then on, and has all again when it is alone.
func TestSharesOfKeysThatCome(t *testing.T) {
	p := startPeople(t, pool.TLSPlain, func(cfg *ServerConfig) {
		cfg.MaxStreams, cfg.MaxStreamsPerService, cfg.Wait = 4, 4, 100*time.Millisecond
	})
	p.set(t, p.ben)
	target := startTarget(t, echo)
	ben := p.client(t, p.ben, target).up(t)
	in := func(g *guest) net.Conn {
		user := g.dial(t)
		send(t, user, "in")
		receive(t, user, "in")
		return user
	}
	for range 2 {
		in(ben)
	}
	third := in(ben)
	p.set(t, p.ben, p.anna)
	anna := p.client(t, p.anna, target).up(t)
	turnsAway(t, ben.public(0))
	annas := in(anna)
	send(t, third, "still in")
	receive(t, third, "still in")
	p.set(t, p.ben)
	wasReset(t, annas)
	in(ben)
}
