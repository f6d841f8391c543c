package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	rush   = 500                    // users per second
	pauses = 500 * time.Millisecond // between faults
)

// TestLostControlSegments: control segments are lost while many users come.
// What is late on control is late for all of them, and nobody is given up for
// it.
func TestLostControlSegments(t *testing.T) {
	s := newSite(t, 32, nil, nil)
	fromServer := "tcp sport " + tunnelPort + " tcp dport " + s.control
	fromClient := "tcp dport " + tunnelPort + " tcp sport " + s.control
	begun := time.Now()
	users := gather(time.Second/rush, s.call)
	loseOne := func(rule string) []string { return []string{rule + " numgen inc mod 1000000 == 0 drop"} }
	for _, fault := range []struct {
		name  string
		end   interface{ Filter(...string) error }
		rules []string
		lasts time.Duration
	}{
		{"one segment of the server's", s.link.B, loseOne(fromServer), 500 * time.Millisecond},
		{"one segment of the client's", s.link.A, loseOne(fromClient), 500 * time.Millisecond},
		{"all of the server's for 200 ms", s.link.B, []string{fromServer + " drop"}, 200 * time.Millisecond},
		{"all of the client's for 200 ms", s.link.A, []string{fromClient + " drop"}, 200 * time.Millisecond},
		{"all of the server's for 400 ms", s.link.B, []string{fromServer + " drop"}, 400 * time.Millisecond},
		{"all of the client's for 400 ms", s.link.A, []string{fromClient + " drop"}, 400 * time.Millisecond},
	} {
		time.Sleep(pauses)
		lost := time.Now()
		require.NoError(t, fault.end.Filter(fault.rules...))
		time.Sleep(fault.lasts)
		require.NoError(t, fault.end.Filter())
		t.Logf("%s to %s: lost %s", clock(lost), clock(time.Now()), fault.name)
	}
	time.Sleep(pauses)
	lasted := time.Since(begun)
	all := users.disperse()
	t.Logf("%.0f users a second: %s; %s", float64(len(all))/lasted.Seconds(), figures(all), outcomes(all))
	s.desk.requireAllServed(t, all)
	require.Zero(t, s.server.count(" left: "), "no false death of a client")
	require.Zero(t, s.client.count("Connection to "), "no false death of the server")
	require.Zero(t, s.server.count(" dead connections"), "no false death of a pooled connection")
}
