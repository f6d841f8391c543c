package pool

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLook: the Check of a pair sees what is idle, cannot use it, and has it closed
// by an error.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept *Conn
		seen := map[string]int{}
		var bad atomic.Value
		p := run(t, keep(t)(NewServer(ServerConfig{CheckEvery: 5 * time.Second, Check: func(c *Conn) error {
			kept = c
			seen[c.ID()]++
			require.NotNil(t, c.RemoteAddr())
			require.GreaterOrEqual(t, c.Age(), 5*time.Second)
			_, err := c.Write([]byte("x"))
			require.ErrorIs(t, err, ErrLookOnly)
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, ErrLookOnly)
			require.ErrorIs(t, c.CloseWrite(), ErrLookOnly)
			require.ErrorIs(t, c.SetDeadline(time.Now()), ErrLookOnly)
			require.ErrorIs(t, c.Close(), ErrLookOnly)
			require.Nil(t, c.NetConn())
			c.SetValue("seen")
			if c.ID() == bad.Load() {
				return errBroken
			}
			return nil
		}})))
		first, _ := admit(t, p)
		second, peer := admit(t, p)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		require.Equal(t, map[string]int{first: 1, second: 1}, seen)
		require.EqualValues(t, 2, p.Stats().Checks)
		_, err := kept.Write(nil)
		require.ErrorIs(t, err, net.ErrClosed, "over is over")
		require.Equal(t, 2, p.Active())

		c := mustGet(t, p)
		require.Equal(t, second, c.ID(), "a look changes no order")
		value, _ := ValueOf[string](c)
		require.Equal(t, "seen", value)
		bad.Store(second)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, map[string]int{first: 2, second: 1}, seen, "what is out is its holder's")
		p.Put(c.ID(), c)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		requireEnded(t, peer)
		require.EqualValues(t, 1, p.Stats().Closed[ClosedCheck])
		require.EqualValues(t, 1, p.Stats().CheckFailures)
	})
}

// TestLookOfOneHandedOut: a verdict on what was handed out meanwhile has no effect.
func TestLookOfOneHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *Pool
		var taken *Conn
		p = run(t, keep(t)(NewServer(ServerConfig{CheckEvery: time.Second, Check: func(*Conn) error {
			taken, _ = p.Get(context.Background())
			return errBroken
		}})))
		_, peer := admit(t, p)
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		require.NotNil(t, taken)
		requireEcho(t, taken, peer)
		require.Zero(t, p.Stats().Closed[ClosedCheck])
		taken.Close()
	})
}

func TestLookConfig(t *testing.T) {
	fine := func(*Conn) error { return nil }
	never := func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }
	_, err := NewServer(ServerConfig{CheckEvery: 1})
	require.ErrorContains(t, err, "ServerConfig.CheckEvery: it is set, and Check is nil")
	_, err = NewServer(ServerConfig{Check: fine, CheckEvery: -1})
	require.ErrorContains(t, err, "ServerConfig.CheckEvery: it is -1ns")
	_, err = NewServer(ServerConfig{Check: fine, Reverse: true})
	require.ErrorContains(t, err, "set it on the other side")
	_, err = NewClient(ClientConfig{Dial: never, Check: fine})
	require.ErrorContains(t, err, "ClientConfig.Check: it is set on the side that takes connections by ID")
	keep(t)(NewClient(ClientConfig{Dial: never, Check: fine, Reverse: true}))
}
