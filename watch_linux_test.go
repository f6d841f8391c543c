package pool

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWatch: what a watched connection has to say is told once, and again after
// it was added again; a quiet one and a closed one say nothing.
func TestWatch(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	w := newWatch()
	require.NotNil(t, w)
	defer w.close()
	fired := func() (ids []string) {
		w.fired(func(id ID) { ids = append(ids, id.String()) })
		return ids
	}
	watched := func(id string) (peer, conn net.Conn) {
		peer, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		conn, err = l.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { peer.Close(); conn.Close() })
		require.True(t, w.add(rawConn(conn), ID([]byte(id))))
		return peer, conn
	}
	speaks, said := watched("speaks__")
	leaves, _ := watched("leaves__")
	resets, _ := watched("resets__")
	watched("is quiet")
	require.Empty(t, fired())

	_, err = speaks.Write([]byte("x"))
	require.NoError(t, err)
	leaves.Close()
	require.NoError(t, resets.(*net.TCPConn).SetLinger(0))
	resets.Close()
	require.ElementsMatch(t, []string{"speaks__", "leaves__", "resets__"}, fired()) // loopback is at once
	require.Empty(t, fired())

	require.True(t, w.add(rawConn(said), ID([]byte("speaks__"))))
	require.Equal(t, []string{"speaks__"}, fired())
	require.True(t, w.add(rawConn(said), ID([]byte("speaks__"))))
	said.Close()
	require.Empty(t, fired())
	require.False(t, w.add(rawConn(said), ID([]byte("speaks__"))))
}

// TestWatchMany: more at once than the system tells in one answer.
func TestWatchMany(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	w := newWatch()
	defer w.close()
	n := len(w.events) + 1
	for range n {
		peer, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		conn, err := l.Accept()
		require.NoError(t, err)
		defer conn.Close()
		require.True(t, w.add(rawConn(conn), newID()))
		peer.Close()
	}
	told := map[ID]bool{}
	w.fired(func(id ID) { told[id] = true })
	require.Len(t, told, n)
}
