//go:build unix

package main

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"-for", "1ms"}, {"-users", "0"}, {"-tls", "2"}, {"word"}, {"-nope"}, {"-connections", "-1"}} {
		var out, errOut bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, &out, &errOut), "%v", args)
		require.Empty(t, out.String())
		require.NotEmpty(t, errOut.String())
	}
}

// TestKillsComeFirst: they have half of the time, whatever the seed.
func TestKillsComeFirst(t *testing.T) {
	for seed := range uint64(200) {
		cards := shuffled(deck(), rand.New(rand.NewPCG(seed, 0)))
		require.Len(t, cards, len(deck()))
		kills := 0
		for _, e := range cards[:4] {
			if e.kills {
				kills++
			}
		}
		require.Equal(t, 2, kills, "seed %d", seed)
	}
}

func TestSameSeedSameRequests(t *testing.T) {
	draw := func() (all []plan) {
		random := rand.New(rand.NewPCG(7, 1))
		for n := range uint64(100) {
			all = append(all, newPlan(randomRequest(n, random), n%2 == 0, random))
		}
		return all
	}
	require.Equal(t, draw(), draw())
}
