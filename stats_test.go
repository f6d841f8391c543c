package pool

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHitsAndWaits: who finds an idle connection is a hit, who waits is counted
// with how long, in vain or not.
func TestHitsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServerCore(t, 8)
		admit(t, p)
		c := mustGet(t, p)
		s := p.Stats()
		require.EqualValues(t, 1, s.Hits)
		require.Zero(t, s.Waited)
		require.Zero(t, s.Waits.Count())

		waiter := laterGet(p)
		time.Sleep(40 * time.Millisecond) // of the bubble's clock
		p.Put(c.ID(), c)
		require.NoError(t, (<-waiter).err)
		_, _, err := p.ServerGet(2 * time.Second)
		require.ErrorIs(t, err, ErrTimeout)

		s = p.Stats()
		require.EqualValues(t, 1, s.Hits)
		require.EqualValues(t, 2, s.HandedOut)
		require.EqualValues(t, 2, s.Waited)
		require.EqualValues(t, 2, s.Misses)
		require.Equal(t, 40*time.Millisecond, s.AcquireTime, "in vain counts in WaitTime only")
		require.EqualValues(t, 2, s.Waits.Count())
		require.Equal(t, 2040*time.Millisecond, s.WaitTime)
		require.Equal(t, s.WaitTime, s.Waits.Sum)
		require.InDelta(t, 40*time.Millisecond, s.Waits.Quantile(0.25), float64(10*time.Millisecond))
	})
}

// TestMisses: who finds nothing idle is a miss, whether he waits, may not, or is
// told at once that it is gone.
func TestMisses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLimitedCore(t, Limits{MaxCap: 8, MaxWaiters: 1})
		_, _, err := p.ServerGet(0)
		require.ErrorIs(t, err, ErrTimeout)
		require.EqualValues(t, 1, p.Stats().Misses)
		waiter := laterGet(p)
		_, err = p.Get(t.Context())
		require.ErrorIs(t, err, ErrTooManyWaiters)
		require.EqualValues(t, 3, p.Stats().Misses)
		id, _ := admit(t, p)
		(<-waiter).conn.Close()
		_, err = p.ClientGet(id)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = p.OutgoingGet("AAAAAAAA", 0)
		require.ErrorIs(t, err, ErrTimeout)
		s := p.Stats()
		require.EqualValues(t, 5, s.Misses)
		require.EqualValues(t, 1, s.Waited)
		require.Zero(t, s.Hits)
	})
}

// TestStatsAdd: every field has its part in the sum, and nothing of it is shared.
func TestStatsAdd(t *testing.T) {
	var of func(v reflect.Value, n int64)
	of = func(v reflect.Value, n int64) { // n in every number
		switch v.Kind() {
		case reflect.Int, reflect.Int64:
			v.SetInt(n)
		case reflect.Uint64:
			v.SetUint(uint64(n))
		case reflect.Map:
			v.Set(reflect.MakeMap(v.Type()))
			count := reflect.New(v.Type().Elem()).Elem()
			of(count, n)
			v.SetMapIndex(reflect.ValueOf("why").Convert(v.Type().Key()), count)
		case reflect.Struct:
			for i := range v.NumField() {
				of(v.Field(i), n)
			}
		case reflect.Slice: // of Waits, set below
		default:
			t.Fatalf("a field is of kind %v, which this test does not fill", v.Kind())
		}
	}
	var a, b, want Stats
	of(reflect.ValueOf(&a).Elem(), 1)
	of(reflect.ValueOf(&b).Elem(), 2)
	of(reflect.ValueOf(&want).Elem(), 3)
	for s, n := range map[*Stats]uint64{&a: 1, &b: 2, &want: 3} {
		s.Waits = Histogram{Bounds: histogramBounds[:1], Counts: []uint64{n, n}, Sum: time.Duration(n)}
	}
	want.Interval = 1
	require.Equal(t, want, a.Add(b))
	require.EqualValues(t, 1, a.Closed["why"])
	require.EqualValues(t, 1, a.Waits.Counts[0])
	require.Equal(t, b.Interval, Stats{}.Add(b).Interval)
	require.Equal(t, b.Closed, Stats{}.Add(b).Closed)
}
