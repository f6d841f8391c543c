//go:build unix

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// TestRatio compares a pooled connection with one made anew, at the same sshd in
// turns: until a command could be run, and with a command.
func TestRatio(t *testing.T) {
	s := startSSHD(t)
	p := s.pool()
	require.NoError(t, p.WaitReady(t.Context(), 1))
	config, err := s.client()
	require.NoError(t, err)

	taken := func() {
		conn, err := p.Get(t.Context())
		require.NoError(t, err)
		require.NotNil(t, clientOf(conn))
		p.Put(conn.ID(), conn)
	}
	dialed := func() *ssh.Client {
		client, err := ssh.Dial("tcp", s.address, config)
		require.NoError(t, err)
		return client
	}
	commanded := func() { s.prints(p, "echo fine", "fine") }
	dialedAndCommanded := func() {
		client := dialed()
		defer client.Close()
		session, err := client.NewSession()
		require.NoError(t, err)
		out, err := session.Output("echo fine")
		require.NoError(t, err)
		require.Equal(t, "fine\n", string(out))
	}

	const rounds = 30
	var take, dial, command, dialCommand []time.Duration
	for range rounds {
		for range 10 {
			take = append(take, took(taken))
		}
		var client *ssh.Client
		dial = append(dial, took(func() { client = dialed() }))
		client.Close()
		command = append(command, took(commanded))
		dialCommand = append(dialCommand, took(dialedAndCommanded))
	}
	ratio := float64(median(dial)) / float64(median(take))
	t.Logf("a usable SSH connection: %v from the pool (median of %d), %v dialed (median of %d): %.0f times",
		median(take), len(take), median(dial), len(dial), ratio)
	t.Logf("a whole command: %v on a pooled connection, %v on one dialed for it (medians of %d): %.1f times",
		median(command), median(dialCommand), rounds, float64(median(dialCommand))/float64(median(command)))
	require.GreaterOrEqual(t, ratio, 50.0)
}

func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
