package pool

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLimitsDefaults: what each role makes of what is not said.
func TestLimitsDefaults(t *testing.T) {
	const hour = time.Hour
	wait := Limits{AcquireTimeout: 30 * time.Second, MaxWaiters: 1024}
	local := func(l Limits) Limits {
		l.AcquireTimeout, l.MaxWaiters = wait.AcquireTimeout, wait.MaxWaiters
		return l
	}
	server := func(l *Limits) error { return l.fillServer(true) }
	taking := func(l *Limits) error { return l.fillServer(false) }
	client := func(l *Limits) error { return l.fillClient(false) }
	giving := func(l *Limits) error { return l.fillClient(true) }
	for _, tt := range []struct {
		role     string
		fill     func(*Limits) error
		in, want Limits
	}{
		{"server", server, Limits{}, Limits{MaxCap: 1024}},
		{"server", server, Limits{MinCap: 2000}, Limits{MinCap: 2000, MaxCap: 2000}},
		{"server", server, Limits{AcquireTimeout: -1, MaxWaiters: -1}, Limits{MaxCap: 1024}},
		{"server", server, Limits{MaxCap: 8, MaxIdle: 9, MaxOpen: 3, IdleTimeout: hour, MaxAge: hour, MaxUses: 1, WhenFull: FailWhenFull},
			Limits{MaxCap: 8, MaxIdle: 9, MaxOpen: 3, IdleTimeout: hour, MaxAge: hour, MaxUses: 1, WhenFull: FailWhenFull}},
		{"server, reverse", taking, Limits{MaxOpen: 3, MaxWaiters: 4, AcquireTimeout: hour, Order: OldestFirst},
			Limits{MaxCap: 1024, MaxOpen: 3, MaxWaiters: 4, AcquireTimeout: hour, Order: OldestFirst}},
		{"client", client, Limits{}, Limits{MinCap: 32, MaxCap: 512}},
		{"client", client, Limits{MaxCap: 5}, Limits{MinCap: 5, MaxCap: 5}},
		{"client", client, Limits{MaxOpen: 5}, Limits{MinCap: 5, MaxCap: 512, MaxOpen: 5}},
		{"client", client, Limits{MinCap: 600, AcquireTimeout: -1, MaxWaiters: -1}, Limits{MinCap: 600, MaxCap: 600}},
		{"client, reverse", giving, Limits{MaxIdle: 5, MaxAge: hour}, Limits{MinCap: 5, MaxCap: 512, MaxIdle: 5, MaxAge: hour}},
		{"local", (*Limits).fillLocal, Limits{}, local(Limits{MinCap: 1, MaxCap: 10, MaxOpen: 10})},
		{"local", (*Limits).fillLocal, Limits{MinCap: 20}, local(Limits{MinCap: 20, MaxCap: 20, MaxOpen: 20})},
		{"local", (*Limits).fillLocal, Limits{MinCap: -1}, local(Limits{MaxCap: 10, MaxOpen: 10})},
		{"local", (*Limits).fillLocal, Limits{MaxOpen: 5}, local(Limits{MinCap: 1, MaxCap: 5, MaxOpen: 5})},
		{"local", (*Limits).fillLocal, Limits{MaxCap: 5}, local(Limits{MinCap: 1, MaxCap: 5, MaxOpen: 5})},
		{"local", (*Limits).fillLocal, Limits{MaxCap: 5, MaxOpen: 9}, local(Limits{MinCap: 1, MaxCap: 5, MaxOpen: 9})},
		{"local", (*Limits).fillLocal, Limits{MaxCap: 5, MaxOpen: -1}, local(Limits{MinCap: 1, MaxCap: 5})},
		{"local", (*Limits).fillLocal, Limits{MaxOpen: -1}, local(Limits{MinCap: 1, MaxCap: 512})},
		{"local", (*Limits).fillLocal, Limits{WhenFull: OverflowWhenFull},
			local(Limits{MinCap: 1, MaxCap: 10, MaxOpen: 10, WhenFull: OverflowWhenFull})},
		{"local", (*Limits).fillLocal, Limits{AcquireTimeout: -1, MaxWaiters: -1}, Limits{MinCap: 1, MaxCap: 10, MaxOpen: 10}},
		{"local", (*Limits).fillLocal, Limits{AcquireTimeout: hour, MaxWaiters: 2},
			Limits{MinCap: 1, MaxCap: 10, MaxOpen: 10, AcquireTimeout: hour, MaxWaiters: 2}},
	} {
		got := tt.in
		require.NoError(t, tt.fill(&got), "%s, %+v", tt.role, tt.in)
		require.Equal(t, tt.want, got, "%s, %+v", tt.role, tt.in)
	}
}

// TestLimitsThatCannotWork: the error begins with the field, in every role that
// has it.
func TestLimitsThatCannotWork(t *testing.T) {
	server := func(l Limits) error { return l.fillServer(true) }
	client := func(l Limits) error { return l.fillClient(true) }
	local := func(l Limits) error { return l.fillLocal() }
	taking := func(l Limits) error { return l.fillServer(false) }
	asking := func(l Limits) error { return l.fillClient(false) }
	pair := []func(Limits) error{server, client}
	all := []func(Limits) error{server, client, local}
	other := []func(Limits) error{taking, asking}
	for _, tt := range []struct {
		says  string
		roles []func(Limits) error
		in    Limits
	}{
		{"MinCap is -1; it must not be negative", pair, Limits{MinCap: -1}},
		{"MaxCap is -1", all, Limits{MaxCap: -1}},
		{"MaxIdle is -1", all, Limits{MaxIdle: -1}},
		{"MaxOpen is -1", pair, Limits{MaxOpen: -1}},
		{"IdleTimeout is -1s", all, Limits{IdleTimeout: -time.Second}},
		{"MaxAge is -1s", all, Limits{MaxAge: -time.Second}},
		{"MaxUses is -1", all, Limits{MaxUses: -1}},
		{"Order is 2", all, Limits{Order: 2}},
		{"WhenFull is 3", all, Limits{WhenFull: 3}},
		{"MinCap 9 exceeds MaxCap 8", all, Limits{MinCap: 9, MaxCap: 8}},
		{"MinCap 9 exceeds MaxIdle 8", all, Limits{MinCap: 9, MaxIdle: 8}},
		{"MinCap 9 exceeds MaxOpen 8", all, Limits{MinCap: 9, MaxOpen: 8, MaxCap: 9}},
		{"WhenFull needs MaxOpen", pair, Limits{WhenFull: FailWhenFull}},
		{"WhenFull needs MaxOpen", all[2:], Limits{WhenFull: FailWhenFull, MaxOpen: -1}},
		{"WhenFull needs MaxOpen", all[2:], Limits{WhenFull: OverflowWhenFull, MaxOpen: -1}},
		{"WhenFull is OverflowWhenFull, which is for single-ended pools", pair, Limits{WhenFull: OverflowWhenFull, MaxOpen: 4}},
		{"MaxIdle is set on the side that takes", other, Limits{MaxIdle: 1}},
		{"IdleTimeout is set on the side that takes", other, Limits{IdleTimeout: 1}},
		{"MaxAge is set on the side that takes", other, Limits{MaxAge: 1}},
		{"MaxUses is set on the side that takes", other, Limits{MaxUses: 1}},
		{"set it on the other side", other, Limits{MaxUses: 1}},
	} {
		for i, role := range tt.roles {
			require.ErrorContains(t, role(tt.in), tt.says, "role %d, %+v", i, tt.in)
		}
	}
}

// TestConstructorsKnowWhoHandsOut: the field is named with its config, and which
// side may have it follows Reverse.
func TestConstructorsKnowWhoHandsOut(t *testing.T) {
	dial := func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }
	uses := Limits{MaxUses: 1}
	_, err := NewClient(ClientConfig{Dial: dial, Limits: uses})
	require.ErrorContains(t, err, "pool: ClientConfig.MaxUses is set on the side")
	_, err = NewServer(ServerConfig{Reverse: true, Limits: uses})
	require.ErrorContains(t, err, "pool: ServerConfig.MaxUses is set on the side")
	keep(t)(NewClient(ClientConfig{Dial: dial, Reverse: true, Limits: uses}))
	keep(t)(NewServer(ServerConfig{Limits: uses}))
}
