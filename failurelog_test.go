package pool

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// warnings returns the lines above debug level that there are.
func (d *door) warnings() (lines []string) {
	for line := d.log.takeLine(); line != ""; line = d.log.takeLine() {
		lines = append(lines, line)
	}
	return lines
}

// TestWrongProofsAreTold: the first of a source at once, the rest by their
// number once a minute, also when no more come.
func TestWrongProofsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(NewKey()), FailureBurst: 150, FailureRate: 0.001})
		wrong := knocker{t, l, Security{TLS: TLSPlain, Key: NewKey()}}
		knock := func(n int) {
			for range n {
				require.Error(t, wrong.from("192.0.2.1:1"))
			}
		}
		knock(1)
		lines := d.warnings()
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], `192.0.2.1:1 (proof): "unknown key or session (key ID `+wrong.Key.ID().String())
		require.Contains(t, lines[0], "told once a minute")
		time.Sleep(10 * time.Minute)
		require.Empty(t, d.warnings(), "there was only one")

		knock(1)
		require.Len(t, d.warnings(), 1, "the first in a while")
		time.Sleep(10 * time.Second)
		knock(100)
		require.Empty(t, d.warnings())
		time.Sleep(time.Minute - 1)
		require.Empty(t, d.warnings())
		time.Sleep(time.Nanosecond)
		lines = d.warnings()
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], "WARN 192.0.2.1: 100 more wrong proofs of the key, in 1m0s")
		require.Contains(t, lines[0], "key ID "+wrong.Key.ID().String())

		knock(100) // 48 of which are heard
		time.Sleep(time.Minute)
		lines = d.warnings()
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], "192.0.2.1: 48 more wrong proofs of the key and 52 connections closed unheard, since too many had failed, in 1m0s")

		knock(7)
		time.Sleep(time.Minute)
		lines = d.warnings()
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], "192.0.2.1: 7 connections closed unheard")

		knock(3)
		time.Sleep(3 * time.Second)
		require.Empty(t, d.warnings())
		d.cancel()
		lines = d.warnings()
		require.Len(t, lines, 1, "the end of Serve does not swallow them")
		require.Contains(t, lines[0], "192.0.2.1: 3 connections closed unheard, since too many had failed, in 3s")
	})
}

// TestManyWrongSources: who has many addresses cannot fill the log either.
func TestManyWrongSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		d := openDoorOn(t, l, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(NewKey()), FailureRate: -1})
		wrong := knocker{t, l, Security{TLS: TLSPlain, Key: NewKey()}}
		const sources = 200
		for n := range sources {
			for range 1 + n/10 { // the later, the more
				require.ErrorIs(t, wrong.from(fmt.Sprintf("[2001:db8:0:%x::1]:1", n)), ErrRefused)
			}
		}
		require.Len(t, d.warnings(), warningsBurst, "firsts")
		time.Sleep(time.Minute)
		lines := d.warnings()
		require.Len(t, lines, reportedSources+1)
		for _, line := range lines[:reportedSources] {
			require.Regexp(t, `^WARN 2001:db8:0:[0-9a-f]+::/64: 20 more wrong proofs`, line)
		}
		named := reportedSources * 20
		all := 10*(1+20)*20/2 - warningsBurst
		require.True(t, strings.HasPrefix(lines[reportedSources], fmt.Sprintf("WARN other addresses: %d more wrong proofs", all-named)), lines[reportedSources])
		time.Sleep(time.Hour)
		require.Empty(t, d.warnings())
	})
}
