package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/testnet"
)

// idle is how long connections lie idle before they are forgotten: then the
// death of one says something of the others.
const idle = 1200 * time.Millisecond

// TestForgottenFlows: the path forgets all idle pooled connections, and the
// carriers, while the control connection lives. The next users are served by connections that are
// dialed when the first of them meets a dead one.
func TestForgottenFlows(t *testing.T) {
	const size, carriers = 8, 2
	s := newSite(t, size, nil, pooled(fmt.Sprint(size)))
	var slowest []time.Duration
	for range rounds {
		require.Eventually(t, func() bool { return len(s.flows()) == 1+carriers+size }, patience, 10*time.Millisecond)
		time.Sleep(idle)
		flows := s.flows()
		s.forget(slices.DeleteFunc(flows, func(port string) bool { return port == s.control }))
		var visits []visit
		for range size {
			visits = append(visits, s.call())
		}
		s.desk.requireAllServed(t, visits)
		var each []time.Duration
		for _, v := range visits {
			each = append(each, round(v.wait()))
		}
		slowest = append(slowest, slices.Max(each))
		t.Logf("%d forgotten flows; first byte of the next %d users after %v", size, size, each)
	}
	s.desk.requireOnce(t)
	require.Zero(t, s.server.count(" left: "), "control lives")
	holdMedian(t, fmt.Sprintf("slowest of %d users", size), 400*time.Millisecond, slowest)
}

// TestBlackHole: for a while nothing passes, in either direction. Nobody waits
// longer than users may, the first who comes when the path is back is served,
// and a stream that was open goes on.
func TestBlackHole(t *testing.T) {
	blackHole(t, 3*time.Second, 500*time.Millisecond, 2*time.Second)
}

// TestBlackHoleLong is the same with the programs' own heartbeat and wait.
func TestBlackHoleLong(t *testing.T) {
	long(t)
	t.Parallel()
	blackHole(t, 30*time.Second, 5*time.Second, 10*time.Second)
}

func blackHole(t *testing.T, length, heartbeat, wait time.Duration) {
	const bound = time.Second
	s := newSite(t, 8, []string{"--heartbeat", heartbeat.String(), "--wait", wait.String()}, pooled("8"))
	open := s.talk()
	open.say("before")
	outage := s.hole(length, heartbeat, wait)
	open.say("after")
	if outage > bound { // a busy machine may be late once
		outage = s.hole(length, heartbeat, wait)
		open.say("after another")
	}
	s.desk.requireOnce(t)
	require.LessOrEqual(t, outage, bound)
}

// hole loses everything for a time and returns how long after it a user was
// served.
func (s *site) hole(length, heartbeat, wait time.Duration) time.Duration {
	t := s.t
	during := gather(100*time.Millisecond, s.call)
	during.await(t, "served before", served)
	s.link.Drop(testnet.Both)
	time.Sleep(length)
	s.link.Drop(testnet.None)
	restored := time.Now()
	after := gather(20*time.Millisecond, s.call)
	after.await(t, "served after the restoration", served)
	later, before := after.disperse(), during.disperse()
	longest := slices.MaxFunc(slices.Concat(before, later), func(a, b visit) int { return int(a.took() - b.took()) })
	outage := firstServed(later).Sub(restored)
	t.Logf("a hole of %v with a heartbeat of %v: first new user served %v after it; the longest wait was %v of %v; meanwhile %s",
		length, heartbeat, round(outage), round(longest.took()), wait, outcomes(before))
	s.desk.requireAllServed(t, later)
	require.LessOrEqual(t, longest.took(), wait+slack, "nobody waits past the limit")
	return outage
}

// slack is what a wait may last longer on a busy machine.
const slack = time.Second

// TestForgottenByNAT: the path forgets every connection, control included, and
// carries new ones, as behind a NAT that was restarted.
func TestForgottenByNAT(t *testing.T) {
	forgottenByNAT(t, 500*time.Millisecond, 3*time.Second)
}

// TestForgottenByNATLong is the same with the programs' own heartbeat.
func TestForgottenByNATLong(t *testing.T) {
	long(t)
	t.Parallel()
	forgottenByNAT(t, 5*time.Second, 20*time.Second)
}

func forgottenByNAT(t *testing.T, heartbeat, bound time.Duration) {
	s := newSite(t, 8, []string{"--heartbeat", heartbeat.String(), "--wait", patience.String()}, pooled("8"))
	require.NoError(t, s.call().err)
	s.forget(s.flows())
	forgotten := time.Now()
	users := gather(50*time.Millisecond, s.call)
	users.await(t, "served after all", served)
	all := users.disperse()
	outage := firstServed(all).Sub(forgotten)
	t.Logf("all connections forgotten with a heartbeat of %v: first user served %v later; %s; %s",
		heartbeat, round(outage), figures(all), outcomes(all))
	s.desk.requireAllServed(t, all)
	require.Equal(t, 1, s.client.count("Connection to "), "one verdict")
	require.LessOrEqual(t, outage, bound)
}
