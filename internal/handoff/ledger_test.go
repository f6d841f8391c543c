package handoff

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestLedger(t *testing.T) {
	opened := func(l *Ledger) { _ = l.Open(1, noon) }
	for _, tt := range []struct {
		name   string
		before func(l *Ledger)
		start  bool // readable at the last look
		answer Answer
		commit bool // whether it may commit after the answer
	}{
		{"announced, nothing came", opened, false, Refused, false},
		{"announced, START is there", opened, true, Committed, true},
		{"committed", func(l *Ledger) { opened(l); l.Commit(1) }, false, Committed, true},
		{"committed, and over", func(l *Ledger) { opened(l); l.Commit(1); l.Drop(1) }, false, Committed, true},
		{"given up", func(l *Ledger) { opened(l); l.Drop(1) }, false, Refused, false},
		{"given up, START is there", func(l *Ledger) { opened(l); l.Drop(1) }, true, Refused, false},
		{"never announced", func(*Ledger) {}, false, Refused, false},
		{"never announced, bytes are there", func(*Ledger) {}, true, Refused, false},
		{"never announced, later ones were", func(l *Ledger) { _ = l.Open(2, noon) }, false, Refused, false},
		{"never announced, a later one was canceled", func(l *Ledger) { l.Cancel(2, false, noon) }, true, Refused, false},
		{"canceled before", func(l *Ledger) { opened(l); l.Cancel(1, false, noon) }, true, Refused, false},
		{"dropped before it was known", func(l *Ledger) { l.Drop(1); opened(l) }, true, Committed, true},
		{"forgotten", func(l *Ledger) { opened(l); l.Commit(1); _ = l.Open(2, noon.Add(Memory+1)) }, true, Unknown, false},
		{"as old as is remembered", func(l *Ledger) { opened(l); l.Commit(1); _ = l.Open(2, noon.Add(Memory)) }, false, Committed, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l Ledger
			tt.before(&l)
			for range 2 { // asked again, over the next control connection
				require.Equal(t, tt.answer.String(), l.Cancel(1, tt.start, noon.Add(Memory)).String())
			}
			require.Equal(t, tt.commit, l.Commit(1))
			require.ErrorIs(t, l.Open(1, noon), ErrOrder, "a number that was answered for is used up")
		})
	}
}

// TestLedgerMidway: of what may have been given out before the ledger began
// nothing is known, and it cannot commit.
func TestLedgerMidway(t *testing.T) {
	l := Ledger{Midway: true}
	for _, number := range []uint32{5, 7, 6} {
		require.Equal(t, Unknown.String(), l.Cancel(number, true, noon).String())
		require.False(t, l.Commit(number))
		require.ErrorIs(t, l.Open(number, noon), ErrOrder)
	}
	require.NoError(t, l.Open(10, noon))
	require.Equal(t, Unknown.String(), l.Cancel(9, false, noon).String())
	require.Equal(t, Refused.String(), l.Cancel(11, false, noon).String(), "its announcement was lost")
	require.True(t, l.Commit(10))
	require.Equal(t, Committed.String(), l.Cancel(10, false, noon).String())
}

func TestLedgerOrder(t *testing.T) {
	var l Ledger
	require.ErrorIs(t, l.Open(0, noon), ErrOrder)
	require.NoError(t, l.Open(5, noon))
	require.ErrorIs(t, l.Open(5, noon), ErrOrder)
	require.ErrorIs(t, l.Open(4, noon), ErrOrder)
	require.False(t, l.Commit(4))
	require.EqualValues(t, 5, l.Last())
	require.Equal(t, Refused, l.Cancel(9, true, noon))
	require.EqualValues(t, 9, l.Last(), "the next session begins behind it")
	require.NoError(t, l.Open(1<<32-1, noon))
}

// TestLedgerIsBounded: neither announcements nor cancels grow it without end,
// and what it forgot for lack of room is unknown, not refused.
func TestLedgerIsBounded(t *testing.T) {
	const numbers = 3 * maxEntries
	for name, enter := range map[string]func(l *Ledger, n uint32) bool{
		"opened":   func(l *Ledger, n uint32) bool { return l.Open(n, noon) == nil },
		"canceled": func(l *Ledger, n uint32) bool { return l.Cancel(n, false, noon) == Refused },
	} {
		var l Ledger
		for n := range uint32(numbers) {
			if !enter(&l, n+1) || len(l.entries) > maxEntries {
				t.Fatalf("%s: %d was not taken, or is one too many", name, n+1)
			}
		}
		require.Len(t, l.entries, maxEntries, name)
		require.Len(t, l.order, maxEntries, name)
		require.LessOrEqual(t, cap(l.order), 4*maxEntries, name)
		require.Equal(t, Unknown, l.Cancel(numbers-maxEntries, true, noon), name)
		require.Equal(t, Refused, l.Cancel(numbers-maxEntries+1, false, noon), name)
		require.False(t, l.Commit(numbers-maxEntries), name)
	}
}

// TestLedgerForgetsWithTime: one entry after a quiet time sweeps all others.
func TestLedgerForgetsWithTime(t *testing.T) {
	var l Ledger
	for n := range uint32(100) {
		require.NoError(t, l.Open(n+1, noon.Add(time.Duration(n)*time.Millisecond)))
	}
	require.NoError(t, l.Open(200, noon.Add(2*Memory)))
	require.Len(t, l.entries, 1)
	require.Equal(t, Unknown, l.Cancel(100, false, noon.Add(2*Memory)))
	require.Equal(t, Refused, l.Cancel(101, false, noon.Add(2*Memory)), "between the forgotten and the known")
}

// A ledger can have a smaller bound.
func TestLedgerMost(t *testing.T) {
	l := Ledger{Most: 10}
	for n := uint32(1); n <= 25; n++ {
		require.NoError(t, l.Open(n, noon))
	}
	require.Len(t, l.entries, 10)
	require.Equal(t, Unknown, l.Cancel(15, true, noon))
	require.True(t, l.Commit(16))
}
