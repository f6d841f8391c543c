package tunnel

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestWithdraw: a service that is taken back is gone when the server says so, and
// its ref is free; what is not there can be taken back too.
func TestWithdraw(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	conn, _ := h.joinAndRegister(t, "puppet")
	public := h.Stats().Services[0].Addr
	waiting := dialUser(t, public) // nobody has a connection for it
	eventually(t, func() bool { return h.Stats().Open == 1 }, h.log.text)
	begun := time.Now()
	say(t, conn, wire.Withdraw{What: wire.WhatService, Ref: 0})
	require.Equal(t, wire.Withdrawn{What: wire.WhatService}, answers[wire.Withdrawn](t, conn, 1)[0])
	_, err := net.DialTimeout("tcp", public, patience)
	require.Error(t, err)
	wasReset(t, waiting)
	require.Less(t, time.Since(begun), h.cfg.Load().Wait/2, "it did not wait in vain")

	for _, m := range []wire.Withdraw{{What: wire.WhatService, Ref: 0}, {What: wire.WhatService, Ref: 77}, {What: wire.WhatForward, Ref: 3}, {What: wire.WhatRest}} {
		say(t, conn, m)
		require.Equal(t, wire.Withdrawn(m), answers[wire.Withdrawn](t, conn, 1)[0])
	}
	port := portOf(t, public)
	say(t, conn, wire.Register{Ref: 0, Network: wire.NetworkTCP, Port: port, Name: "again"})
	require.Equal(t, wire.OK, answers[wire.Registered](t, conn, 1)[0].Code)
	require.Equal(t, "again", h.Stats().Services[0].Name)
}

// TestRegisterAgain: a Register under a ref that is up changes the service, and what
// cannot be changed is taken down first.
func TestRegisterAgain(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	conn, _ := h.join(t, h.key, "puppet")
	first, second := freePort(t), freePort(t)
	register := func(r wire.Register) wire.Registered {
		r.Network = wire.NetworkTCP
		say(t, conn, r)
		return answers[wire.Registered](t, conn, 1)[0]
	}
	require.Equal(t, wire.OK, register(wire.Register{Port: first, Name: "a"}).Code)
	listening := h.Stats().Services[0].Addr
	require.Equal(t, wire.OK, register(wire.Register{Port: first, Name: "b", Sources: "192.0.2.0/24"}).Code)
	require.Equal(t, "b", h.Stats().Services[0].Name)
	turnsAway(t, listening)
	require.Zero(t, h.log.count("is withdrawn"))

	require.Equal(t, wire.OK, register(wire.Register{Port: second, Name: "b"}).Code)
	require.Equal(t, second, portOf(t, h.Stats().Services[0].Addr))
	require.Len(t, h.Stats().Services, 1)
	_, err := net.DialTimeout("tcp", listening, patience)
	require.Error(t, err)

	require.Equal(t, wire.PortNotAllowed, register(wire.Register{Port: 1, Name: "b"}).Code)
	require.False(t, h.Stats().Services[0].Up, "a denial takes it down")
	require.Len(t, h.Stats().Services, 1)
}

// TestWithdrawRest: what a client had in a former session and does not register
// again closes as soon as it says so, with who waits there.
func TestWithdrawRest(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	first, second := freePort(t), freePort(t)
	who := wire.Join{Identity: [16]byte{1}, Instance: [16]byte{2}, Name: "puppet"}
	conn, _ := h.joinAs(t, h.key, who)
	say(t, conn, wire.Register{Ref: 0, Network: wire.NetworkTCP, Port: first}, wire.Register{Ref: 1, Network: wire.NetworkTCP, Port: second})
	answers[wire.Registered](t, conn, 2)
	conn.Close()
	h.away(t)
	require.Len(t, h.Stats().Services, 2)
	conn, _ = h.joinAs(t, h.key, who)
	say(t, conn, wire.Register{Ref: 7, Network: wire.NetworkTCP, Port: second}, wire.Withdraw{What: wire.WhatRest})
	answers[wire.Withdrawn](t, conn, 1)
	require.Len(t, h.Stats().Services, 1)
	require.Equal(t, second, portOf(t, h.Stats().Services[0].Addr))
	h.log.find(t, `"puppet" is back without 1 of its services`)
}

// TestWithdrawFlood: who asks more often than it may is cut off.
func TestWithdrawFlood(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	for _, m := range []wire.Message{
		wire.Withdraw{What: wire.WhatService}, wire.Withdraw{What: wire.WhatForward}, wire.Withdraw{What: wire.WhatRest},
	} {
		conn, _ := h.join(t, h.key, "puppet")
		var b []byte
		for range 4 * registerBurst {
			b = wire.AppendMessage(b, m)
		}
		conn.Write(b)
		eventually(t, func() bool { return h.Stats().Sessions == 0 }, h.log.text)
	}
	require.Equal(t, 3, h.log.count(errRegisters.Error()))
}

// TestConfirmationsThatNobodyAskedFor end the session with who sends them.
func TestConfirmationsThatNobodyAskedFor(t *testing.T) {
	for _, m := range []wire.Withdrawn{{What: wire.WhatService, Ref: 0}, {What: wire.WhatService, Ref: 9}, {What: wire.WhatForward, Ref: 0}} {
		key := pool.NewKey()
		p := startPuppet(t, key, func(_ *puppet, control net.Conn) { control.Write(wire.AppendMessage(nil, m)) })
		g := runClient(t, ClientConfig{Server: p.addr, Key: key, TLS: pool.TLSPlain, Services: []Service{{Target: "localhost:1"}}})
		g.log.find(t, "which we did not withdraw")
	}
}

// TestServerThatNeverConfirms: a client whose configuration changes all the time does
// not run out of numbers for its services, nor of memory, and goes on with what the
// server confirms.
func TestServerThatNeverConfirms(t *testing.T) {
	cl := claims[*clientService]{what: wire.WhatService}
	wanted := func() *clientService { return &clientService{entry: entry{request: wire.Register{Name: "web"}}} }
	for range 1 << 16 {
		cl.update([]*clientService{wanted()}, false)
	}
	require.Len(t, cl.byRef, maxClaims)
	require.NoError(t, cl.confirmed(0))
	require.Len(t, cl.update([]*clientService{wanted()}, true), 1)
	require.Len(t, cl.byRef, maxClaims)
}
