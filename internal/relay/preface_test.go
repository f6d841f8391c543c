package relay

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// scribe notes what each write to a target was.
type scribe struct {
	*net.TCPConn

	mu     sync.Mutex
	writes []string
}

func (s *scribe) Write(b []byte) (int, error) {
	s.mu.Lock()
	s.writes = append(s.writes, string(b))
	s.mu.Unlock()
	return s.TCPConn.Write(b)
}

// TestPreface: a target hears the preface first, whatever the user does, and in
// one write with the user's first words if these came along.
func TestPreface(t *testing.T) {
	const preface = "from 192.0.2.1\r\n"
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, user *net.TCPConn) // the target is dialed
		after  func(t *testing.T, user *net.TCPConn) // the preface is there
		words  string
	}{
		{"the user speaks first", func(t *testing.T, user *net.TCPConn) { send(t, user, "hello") }, nil, "hello"},
		{"the target speaks first", nil, func(t *testing.T, user *net.TCPConn) { send(t, user, "hello") }, "hello"},
		{"the user says nothing", func(t *testing.T, user *net.TCPConn) { require.NoError(t, user.CloseWrite()) }, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, lane func() (client, server net.Conn)) {
				client, server := lane()
				user, served := tcpPair(t)
				dialed, target := tcpPair(t)
				for _, c := range []net.Conn{user, target} {
					c.SetDeadline(time.Now().Add(patience))
				}
				to := &scribe{TCPConn: dialed}
				if tt.before != nil {
					tt.before(t, user)
					require.Eventually(t, func() bool { return readable(served) }, patience, time.Millisecond)
				}
				over := make(chan Result, 2)
				go func() { over <- serveOn(t.Context(), served, server, 1, patience) }()
				go func() {
					over <- attend(t.Context(), client, Task{
						Number: 1, StartWait: patience, Commit: agree, Reserve: func() bool { return true },
						Preface: []byte(preface),
						Dial:    func(context.Context) (net.Conn, wire.ResetReason) { return to, 0 },
					})
				}()
				receive(t, target, preface)
				if tt.after != nil {
					tt.after(t, user)
				}
				user.CloseWrite()
				said, err := io.ReadAll(target)
				require.NoError(t, err)
				require.Equal(t, tt.words, string(said))
				target.Close()
				for range 2 {
					require.True(t, await(t, over).Keep)
				}
				if tt.before != nil && tt.words != "" && canPark {
					require.Equal(t, []string{preface + tt.words}, to.writes)
				}
			})
		})
	}
}

// TestPrefaceOfTargetThatLeft: one that is gone before it heard anything is a
// reset like any other.
func TestPrefaceOfTargetThatLeft(t *testing.T) {
	client, server := tcpPair(t)
	user, served := tcpPair(t)
	user.SetDeadline(time.Now().Add(patience))
	dialed, target := tcpPair(t)
	reset(t, target)
	require.Eventually(t, func() bool { return wasReset(dialed) }, patience, time.Millisecond)
	over := make(chan Result, 2)
	go func() { over <- serveOn(t.Context(), served, server, 1, patience) }()
	go func() {
		over <- attend(t.Context(), client, Task{
			Number: 1, StartWait: patience, Commit: agree, Reserve: func() bool { return true }, Preface: []byte("x"),
			Dial: func(context.Context) (net.Conn, wire.ResetReason) { return dialed, 0 },
		})
	}()
	seesReset(t, user)
	for range 2 {
		res := await(t, over)
		require.True(t, res.Keep)
		require.Equal(t, wire.ResetAborted, res.Reset)
	}
}
