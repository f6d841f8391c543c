package tunnel

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// TestHeldInOrder: users wait for a connection of a session that ends, others
// come while the client is away and when it is back. They are served in order
// of arrival.
func TestHeldInOrder(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	join := wire.Join{Identity: [16]byte{1}, Instance: [16]byte{2}, Name: "by hand"}
	control, _ := h.joinAs(t, h.key, join)
	register := wire.Register{Ref: 1, Network: wire.NetworkTCP, Name: "web"}
	say(t, control, register)
	public := answers[wire.Registered](t, control, 1)[0].Addr
	var users []string
	come := func(count int) {
		for range count {
			users = append(users, dialUser(t, public).LocalAddr().String())
			eventually(t, func() bool { return h.Stats().Open == len(users) }, h.log.text)
		}
	}
	held := func() (n int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, p := range h.publishers {
			for _, sv := range p.services {
				n += len(sv.line)
			}
		}
		return n
	}

	come(20)
	eventually(t, func() bool { return h.Stats().Pools[0].Waiting == 20 }, h.log.text)
	control.Close()
	h.away(t)
	come(20)
	eventually(t, func() bool { return held() == 40 }, func() string { return fmt.Sprint(held(), " are held") })

	control, w := h.joinAs(t, h.key, join)
	warm := func() {
		_, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
		require.NoError(t, err)
	}
	warm()
	eventually(t, func() bool { return h.Stats().Pools[0].Idle == 1 }, h.log.text)
	say(t, control, register) // now they are let go
	eventually(t, func() bool { return h.Stats().Pools[0].Waiting == 39 }, h.log.text)
	require.Zero(t, held())
	come(20)
	for i, user := range users {
		if i > 0 {
			warm()
		}
		require.Equal(t, user, answers[wire.Open](t, control, 1)[0].User, "user %d", i)
	}
}

// TestLine: whoever joins late stands where it came, and the first is told when
// those before it are gone.
func TestLine(t *testing.T) {
	came := func(second int64) *visit {
		return &visit{patience: time.Unix(second, 0)}
	}
	a, b, c, d := came(1), came(2), came(3), came(4)
	var l line
	for _, v := range []*visit{b, d, a, c, b} {
		l.join(v)
	}
	require.Equal(t, line{a, b, c, d}, l)
	require.True(t, l.clear(a))
	require.False(t, l.clear(b))
	l.leave(c) // in the middle
	require.Equal(t, line{a, b, d}, l)
	l.leave(a)
	require.True(t, l.clear(b))
	require.Len(t, b.turn, 1)
	require.Empty(t, d.turn)
	l.leave(b)
	l.leave(d)
	require.True(t, l.clear(came(5)))
}

// TestFirstInLineAlready: a user whose connection came to nothing joins the line
// when the service is up again already, and before one who has yet to notice.
// Nobody else is going to tell either of them.
func TestFirstInLineAlready(t *testing.T) {
	h := startServer(t, pool.TLSPlain)
	startClient(t, h, startTarget(t, echo))
	h.mu.Lock()
	var sv *published
	for _, p := range h.publishers {
		sv = p.services[0]
	}
	now := time.Now()
	late := &visit{server: h.Server, service: sv, patience: now.Add(2 * time.Minute)}
	sv.line.join(late)
	h.mu.Unlock()

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, v := range []*visit{{server: h.Server, service: sv, patience: now.Add(time.Minute)}, late} {
		c, _, err := v.session(ctx)
		require.NoError(t, err)
		require.NotNil(t, c)
		v.leaveLine()
	}
}

// slowLog takes its time for a line that contains part.
type slowLog struct {
	*recorder
	part string
	take time.Duration
}

func (l slowLog) Info(format string, args ...any) {
	if strings.Contains(fmt.Sprintf(format, args...), l.part) {
		time.Sleep(l.take)
	}
	l.recorder.Info(format, args...)
}

// TestHeldUserComesAfterRegistered: a user who was held is announced to a client
// that has been told that the service is up, and where, even if the log is slow.
func TestHeldUserComesAfterRegistered(t *testing.T) {
	h := startServer(t, pool.TLSPlain, func(cfg *ServerConfig) {
		cfg.Logger = slowLog{cfg.Logger.(*recorder), "is up on", 300 * time.Millisecond}
	})
	me := wire.Join{Identity: [16]byte{1}, Instance: [16]byte{2}, Name: "by hand"}
	register := wire.Register{Ref: 1, Network: wire.NetworkTCP, Name: "web"}
	control, _ := h.joinAs(t, h.key, me)
	say(t, control, register)
	public := answers[wire.Registered](t, control, 1)[0].Addr
	control.Close()
	h.away(t)
	dialUser(t, public)
	eventually(t, func() bool { return h.Stats().Open == 1 }, h.log.text)
	control, w := h.joinAs(t, h.key, me)
	_, err := h.knock(t, h.key.Session(w.Secret[:]), wire.KindPool, w.Session[:])
	require.NoError(t, err)
	say(t, control, register)
	for {
		m, err := wire.ReadMessage(control, nil)
		require.NoError(t, err)
		require.NotEqual(t, wire.TypeOpen, m.Type(), "it came first")
		if m.Type() == wire.TypeRegistered {
			return
		}
	}
}
