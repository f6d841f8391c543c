package handoff

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOfferTable is every event in every state, with an empty copy and with
// one that holds bytes.
func TestOfferTable(t *testing.T) {
	states := map[string]Offer{
		"offered":    {},
		"asked":      {state: asked},
		"asked dead": {state: asked, dead: true},
		"owed":       {state: owed},
		"settled":    {state: settled},
	}
	type result struct {
		act  Action
		next offerState
	}
	none := func(s offerState) result { return result{Wait, s} }
	table := map[string]map[Event][2]result{ // a copy with bytes, an empty one
		"offered": {
			Acked:     {{Proceed, settled}, {Proceed, settled}},
			Expired:   {{Ask, asked}, {Ask, asked}},
			Died:      {{Ask, asked}, {Ask, asked}},
			Abandoned: {none(offered), none(offered)},
		},
		"asked": {
			Acked:     {{Proceed, settled}, {Proceed, settled}},
			Expired:   {none(asked), none(asked)},
			Died:      {none(asked), none(asked)},
			Abandoned: {{Reset, settled}, {Replay, offered}},
		},
		"asked dead": {
			Acked:     {{Proceed, settled}, {Proceed, settled}},
			Expired:   {none(asked), none(asked)},
			Died:      {none(asked), none(asked)},
			Abandoned: {{Reset, settled}, {Replay, offered}},
		},
		"owed": {
			Acked:     {{Proceed, settled}, {Proceed, settled}},
			Expired:   {{Reset, settled}, {Reset, settled}},
			Died:      {{Reset, settled}, {Reset, settled}},
			Abandoned: {none(owed), none(owed)},
		},
		"settled": {
			Acked: {none(settled), none(settled)}, Expired: {none(settled), none(settled)},
			Died: {none(settled), none(settled)}, Abandoned: {none(settled), none(settled)},
		},
	}
	for name, begin := range states {
		for event, want := range table[name] {
			for i, copyEmpty := range []bool{false, true} {
				o := begin
				got := result{o.On(event, copyEmpty), o.state}
				require.Equal(t, want[i], got, "%s, event %d, empty %v", name, event, copyEmpty)
			}
		}
	}

	answers := map[string]map[Answer][2]result{
		"offered": {Committed: {none(offered), none(offered)}, Refused: {none(offered), none(offered)}, Unknown: {none(offered), none(offered)}},
		"asked": {
			Committed: {{Wait, owed}, {Wait, owed}},
			Refused:   {{Replay, offered}, {Replay, offered}},
			Unknown:   {{Reset, settled}, {Replay, offered}},
			Answer(9): {{Reset, settled}, {Replay, offered}}, // no more than unknown
		},
		"asked dead": {
			Committed: {{Reset, settled}, {Reset, settled}},
			Refused:   {{Replay, offered}, {Replay, offered}},
			Unknown:   {{Reset, settled}, {Replay, offered}},
		},
		"owed":    {Committed: {none(owed), none(owed)}, Refused: {none(owed), none(owed)}, Unknown: {none(owed), none(owed)}},
		"settled": {Committed: {none(settled), none(settled)}, Refused: {none(settled), none(settled)}, Unknown: {none(settled), none(settled)}},
	}
	for name, begin := range states {
		for answer, want := range answers[name] {
			for i, copyEmpty := range []bool{false, true} {
				o := begin
				got := result{o.Answered(answer, copyEmpty), o.state}
				require.Equal(t, want[i], got, "%s, %v, empty %v", name, answer, copyEmpty)
			}
		}
	}
}

// TestOfferAttempts: the third refusal resets, and a replay remembers nothing
// of the connection before.
func TestOfferAttempts(t *testing.T) {
	var o Offer
	for attempt := 1; attempt < MaxAttempts; attempt++ {
		require.Equal(t, Ask, o.On(Died, false))
		require.Equal(t, Replay, o.Answered(Refused, false))
		require.Equal(t, Offer{attempts: attempt}, o)
	}
	require.Equal(t, Ask, o.On(Expired, true))
	require.Equal(t, Reset, o.Answered(Refused, true))
	require.Equal(t, Wait, o.On(Acked, true), "settled stays")
}

// TestOfferDiesWhileAsked: a death in between turns committed into a reset.
func TestOfferDiesWhileAsked(t *testing.T) {
	var o Offer
	require.Equal(t, Ask, o.On(Expired, false))
	require.Equal(t, Wait, o.On(Died, false))
	require.Equal(t, Reset, o.Answered(Committed, false))
}

func TestAnswersHaveNames(t *testing.T) {
	for a, want := range map[Answer]string{Committed: "committed", Refused: "refused", Unknown: "unknown", 7: "answer 7"} {
		require.Equal(t, want, a.String())
	}
}
