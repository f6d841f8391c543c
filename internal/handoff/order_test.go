package handoff

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func (m *model) check() {
	seen := map[int]int{}
	dials := 0
	for _, target := range m.targets {
		dials++
		for i, index := range target.got {
			seen[index]++
			require.Equal(m.t, i, index, "bytes of a target out of order or with a gap")
		}
	}
	for index, times := range seen {
		require.Equal(m.t, 1, times, "byte %d reached %d targets", index, times)
	}
	require.LessOrEqual(m.t, dials, 1+m.dialsWithNothing, "the target was dialed again for the same user")
	if !m.userReset {
		require.True(m.t, m.proceed, "the user is left hanging")
		last := m.targets[len(m.targets)-1]
		require.Len(m.t, last.got, m.sent, "bytes were lost without a reset")
		require.False(m.t, last.reset)
		return
	}
	for _, target := range m.targets {
		require.True(m.t, target.reset, "the user was reset and a target was not told")
	}
}

func TestEveryOrder(t *testing.T) {
	const schedules = 20_000
	outcomes := map[string]int{}
	for seed := range uint64(schedules) {
		m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 1)), attached: true}
		m.send()
		for step := 0; ; step++ {
			if step > 20_000 {
				t.Fatalf("seed %d does not end:\n%v", seed, m.events[len(m.events)-50:])
			}
			possible := m.steps()
			if len(possible) == 0 {
				if m.over() || m.current == nil && m.attached {
					break
				}
				if m.timer || !m.attached {
					continue // the dice will offer a step
				}
				break
			}
			possible[m.rng.IntN(len(possible))]()
		}
		m.settle()
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d:", seed)
					for _, e := range m.events {
						t.Log(e)
					}
				}
			}()
			m.check()
		}()
		switch {
		case m.userReset:
			outcomes["reset"]++
		case m.number > 1:
			outcomes["served after a replay"]++
		default:
			outcomes["served at once"]++
		}
	}
	t.Logf("%d schedules: %v", schedules, outcomes)
	for _, want := range []string{"reset", "served after a replay", "served at once"} {
		require.Greater(t, outcomes[want], schedules/100, "the schedules hardly show %q", want)
	}
}
