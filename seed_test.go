package pool_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool"
)

// The signatures of the seed API, and of NodePass's pool v1.0.50, exactly.
var (
	_ func(minCap, maxCap int, minIvl, maxIvl, keepAlive time.Duration, tlsCode, hostname string, dialer func() (net.Conn, error)) *pool.Pool = pool.NewClientPool
	_ func(maxCap int, clientIP string, tlsConfig *tls.Config, listener net.Listener, keepAlive time.Duration) *pool.Pool                     = pool.NewServerPool

	_ func(*pool.Pool)                                          = (*pool.Pool).ClientManager
	_ func(*pool.Pool)                                          = (*pool.Pool).ServerManager
	_ func(*pool.Pool, string) (net.Conn, error)                = (*pool.Pool).ClientGet
	_ func(*pool.Pool, time.Duration) (string, net.Conn, error) = (*pool.Pool).ServerGet
	_ func(*pool.Pool, string, time.Duration) (net.Conn, error) = (*pool.Pool).OutgoingGet
	_ func(*pool.Pool, time.Duration) (string, net.Conn, error) = (*pool.Pool).IncomingGet
	_ func(*pool.Pool, string, net.Conn)                        = (*pool.Pool).Put
	_ func(*pool.Pool) bool                                     = (*pool.Pool).Ready
	_ func(*pool.Pool) int                                      = (*pool.Pool).Active
	_ func(*pool.Pool) int                                      = (*pool.Pool).Capacity
	_ func(*pool.Pool) time.Duration                            = (*pool.Pool).Interval
	_ func(*pool.Pool)                                          = (*pool.Pool).Clean
	_ func(*pool.Pool)                                          = (*pool.Pool).Flush
	_ func(*pool.Pool)                                          = (*pool.Pool).Close
	_ func(*pool.Pool)                                          = (*pool.Pool).AddError
	_ func(*pool.Pool) int                                      = (*pool.Pool).ErrorCount
	_ func(*pool.Pool)                                          = (*pool.Pool).ResetError
)

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func dialTo(l net.Listener) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
}

// TestSeedProgram is a program for NodePass's pool as its README of 2025 shows
// it: one import path is all that was changed.
func TestSeedProgram(t *testing.T) {
	for _, mode := range []string{"0", "1"} {
		t.Run("mode "+mode, func(t *testing.T) {
			listener := listen(t)
			defer listener.Close()
			var tlsConfig *tls.Config
			if mode == "1" {
				tlsConfig = &tls.Config{MinVersion: tls.VersionTLS13}
			}
			serverPool := pool.NewServerPool(20, "127.0.0.1", tlsConfig, listener, 30*time.Second)
			go serverPool.ServerManager()
			defer serverPool.Close()
			clientPool := pool.NewClientPool(5, 20, 500*time.Millisecond, 5*time.Second, 30*time.Second,
				mode, "example.com", dialTo(listener))
			go clientPool.ClientManager()
			defer clientPool.Close()

			for range 20 { // over the same few connections
				id, remote, err := serverPool.ServerGet(10 * time.Second)
				require.NoError(t, err)
				local, err := clientPool.ClientGet(id)
				require.NoError(t, err)
				talk(t, remote, local)
				serverPool.Put(id, remote)
				clientPool.Put(id, local)
			}
			require.LessOrEqual(t, serverPool.Stats().Created, uint64(20))
			require.True(t, serverPool.Ready() && clientPool.Ready())
			require.Equal(t, 20, serverPool.Capacity())
			require.GreaterOrEqual(t, clientPool.Capacity(), 5)
			require.GreaterOrEqual(t, clientPool.Interval(), 500*time.Millisecond)
			clientPool.AddError()
			require.Equal(t, 1, clientPool.ErrorCount())
			clientPool.ResetError()
			serverPool.Flush()
			clientPool.Clean()
		})
	}
}

// TestSeedProgram1050 is the same for v1.0.50, which calls its gets otherwise.
func TestSeedProgram1050(t *testing.T) {
	listener := listen(t)
	serverPool := pool.NewServerPool(20, "", nil, listener, 30*time.Second)
	go serverPool.ServerManager()
	defer serverPool.Close()
	clientPool := pool.NewClientPool(5, 20, 500*time.Millisecond, 5*time.Second, 30*time.Second, "0", "", dialTo(listener))
	go clientPool.ClientManager()
	defer clientPool.Close()
	id, remote, err := serverPool.IncomingGet(10 * time.Second)
	require.NoError(t, err)
	local, err := clientPool.OutgoingGet(id, 10*time.Second)
	require.NoError(t, err)
	talk(t, remote, local)
	remote.Close()
	_, err = local.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	local.Close()
	_, err = clientPool.OutgoingGet("connection-id", 10*time.Second)
	require.ErrorIs(t, err, pool.ErrBadID)
}

// talk sends a message each way.
func talk(t testing.TB, a, b net.Conn) {
	t.Helper()
	for range 2 {
		_, err := a.Write([]byte("hello"))
		require.NoError(t, err)
		got := make([]byte, 5)
		_, err = io.ReadFull(b, got)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		a, b = b, a
	}
}

func TestSeedArguments(t *testing.T) {
	never := func() (net.Conn, error) { return nil, errors.New("unused") }
	for _, tt := range []struct {
		minCap, maxCap int
		minIvl, maxIvl time.Duration
		wantCap        int
		wantIvl        time.Duration
	}{
		{5, 20, 2 * time.Second, 5 * time.Second, 5, 2 * time.Second},
		{20, 5, 5 * time.Second, 2 * time.Second, 5, 2 * time.Second},
		{0, 0, 0, 0, 1, time.Second},
		{-3, -1, -time.Second, -1, 1, time.Second},
		{0, 9, 0, 5 * time.Second, 1, time.Second},
		{9, 0, 5 * time.Second, 0, 1, time.Second},
	} {
		p := pool.NewClientPool(tt.minCap, tt.maxCap, tt.minIvl, tt.maxIvl, -1, "0", "", never)
		require.NoError(t, p.Err(), "%+v", tt)
		require.Equal(t, tt.wantCap, p.Capacity(), "%+v", tt)
		require.Equal(t, tt.wantIvl, p.Interval(), "%+v", tt)
		p.Close()
	}
	require.Nil(t, pool.NewServerPool(1, "", nil, nil, 0))
	for maxCap, want := range map[int]int{-1: 1, 0: 1, 1: 1, 7: 7} {
		p := pool.NewServerPool(maxCap, "", nil, listen(t), -1)
		require.NoError(t, p.Err())
		require.Equal(t, want, p.Capacity())
		p.Close()
	}
}

// TestSeedConfigsThatCannotWork: constructors that return no error make a pool
// that gives one, to every question and at once.
func TestSeedConfigsThatCannotWork(t *testing.T) {
	never := func() (net.Conn, error) { t.Error("dialed"); return nil, errors.New("dialed") }
	l := listen(t)
	for says, p := range map[string]*pool.Pool{
		`"3"`:       pool.NewClientPool(1, 2, 0, 0, 0, "3", "", never),
		`""`:        pool.NewClientPool(1, 2, 0, 0, 0, "", "", never),
		"dialer":    pool.NewClientPool(1, 2, 0, 0, 0, "1", "", nil),
		"host name": pool.NewClientPool(1, 2, 0, 0, 0, "2", "", never),
		"ClientIP":  pool.NewServerPool(1, "example.com", nil, l, 0),
		"MaxVersion": pool.NewServerPool(1, "", &tls.Config{MaxVersion: tls.VersionTLS12},
			listen(t), 0),
	} {
		for range 2 {
			require.ErrorContains(t, p.Err(), says)
			require.NotErrorIs(t, p.Err(), pool.ErrClosed)
			require.False(t, p.Ready())
			_, _, err := p.ServerGet(time.Hour)
			require.ErrorContains(t, err, says)
			_, err = p.ClientGet("AAAAAAAA")
			require.ErrorContains(t, err, says)
			_, err = p.ClientGet("malformed")
			require.ErrorContains(t, err, says)
			_, err = p.OutgoingGet("AAAAAAAA", time.Hour)
			require.ErrorContains(t, err, says)
			_, err = p.Get(t.Context())
			require.ErrorContains(t, err, says)
			require.ErrorContains(t, p.Run(t.Context()), says)
			p.ClientManager()
			p.ServerManager()
			conn, peer := net.Pipe()
			p.Put("AAAAAAAA", conn)
			_, err = peer.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			conn, _ = net.Pipe()
			require.ErrorContains(t, p.Admit(t.Context(), conn), says)
			require.Zero(t, p.Active()+p.ErrorCount()+p.Stats().Idle)
			require.GreaterOrEqual(t, p.Capacity(), 0)
			require.Zero(t, p.Interval())
			p.Demand(1)
			p.Clean()
			p.Flush()
			require.NoError(t, p.Drain(t.Context()))
			p.Close()
		}
	}
	_, err := l.Accept()
	require.ErrorIs(t, err, net.ErrClosed, "Close closes the listener all the same")
}
