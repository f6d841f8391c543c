package session

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// running is a link at work, with the test as its peer.
type running struct {
	*Link
	peer   net.Conn
	in     *bufio.Reader
	cancel context.CancelFunc
	ended  chan error        // Run's answer
	heard  chan wire.Message // what handle was given
}

// run starts a link on a pipe. Meant for synctest's bubble.
func run(t *testing.T, heartbeat time.Duration) *running {
	conn, peer := net.Pipe()
	return runOn(t, conn, peer, heartbeat, nil)
}

func runOn(t *testing.T, conn, peer net.Conn, heartbeat time.Duration, answer error) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{
		Link: New(conn, heartbeat), peer: peer, in: bufio.NewReader(peer), cancel: cancel,
		ended: make(chan error, 1), heard: make(chan wire.Message, 1000),
	}
	go func() {
		r.ended <- r.Run(ctx, func(m wire.Message) error {
			r.heard <- m
			return answer
		})
	}()
	t.Cleanup(func() { cancel(); peer.Close() })
	return r
}

// say sends a message as the peer.
func (r *running) say(t *testing.T, m wire.Message) {
	t.Helper()
	_, err := r.peer.Write(wire.AppendMessage(nil, m))
	require.NoError(t, err)
}

// next reads the link's next message as the peer.
func (r *running) next(t *testing.T) wire.Message {
	t.Helper()
	m, err := wire.ReadMessage(r.in, nil)
	require.NoError(t, err)
	return m
}

// expect reads the link's messages up to one of that type.
func expect[M wire.Message](t *testing.T, r *running) M {
	t.Helper()
	for {
		if m, ok := r.next(t).(M); ok {
			return m
		}
	}
}

// swallow reads whatever the link says, and answers nothing.
func (r *running) swallow() {
	go func() {
		for {
			if _, err := wire.ReadMessage(r.in, nil); err != nil {
				return
			}
		}
	}()
}
