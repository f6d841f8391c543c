package trial

import (
	"math/rand/v2"
	"time"
)

// The network and the habits of users, in all traces.
const (
	// A dial takes 2 1/2 round trips until the server can hand the connection
	// out, for TCP and for TLS 1.3 with the proof in the client's last flight,
	// and half a round trip more until the client has read the ID. Busy
	// processors add up to dialSpread, evenly spread.
	dialSpread = 10 * time.Millisecond

	waitLimit   = 10 * time.Second     // who waits longer gives up
	needSpacing = 5 * time.Millisecond // between two messages on how many wait
	meanUse     = time.Second          // how long a taker uses a connection; exponential

	// warmUp passes before a trace begins: its pool has been up for a while.
	warmUp = 30 * time.Second
)

// rule is what a client pool dials by. It is told what the client knows, when
// the client knows it, and answers by dial and wakeAt.
type rule interface {
	wake(*world) // it is the time that was asked for last with wakeAt
	took(*world) // a connection was taken
	returned(*world)
	need(w *world, waiting int) // so many takers waited when the server said so
	dialEnded(w *world, begun time.Duration, brought bool)
}

// world is one pool pair: the server, to which takers come, the client, where
// a rule decides on dials, and the network between the two. Its time runs from
// -warmUp to the trace's length, from event to event.
type world struct {
	now       time.Duration
	trace     *Trace
	roundTrip time.Duration
	rule      rule
	recycles  bool            // connections come back after use
	takers    []time.Duration // when each comes
	dials     *rand.Rand      // how long they take
	uses      *rand.Rand      // how long a taker uses a connection

	events schedule
	wakes  int // calls of wakeAt; only the last one counts

	// At the server:
	idle    int
	waiting []time.Duration // since when each taker waits, in order
	telling bool            // a message on how many wait went out less than needSpacing ago
	untold  int             // how many wait, noticed since

	// As the client knows it:
	clientIdle, clientOut, dialing int

	books books
}

func newWorld(t *Trace, setup Setup, r rule, seed uint64) *world {
	w := &world{
		now: -warmUp, trace: t, roundTrip: setup.RoundTrip, rule: r,
		takers: t.takers(seed, setup.Scale),
		dials:  rand.New(rand.NewPCG(seed, 1)),
		uses:   rand.New(rand.NewPCG(seed, 2)),
	}
	w.books.open(t)
	if len(w.takers) > 0 {
		w.events.push(event{at: w.takers[0], kind: takerComes})
	}
	w.wakeAt(w.now)
	return w
}

// run lets the time pass until the trace is over.
func (w *world) run() {
	for w.events.next().at < w.trace.Length {
		w.step()
	}
	w.advance(w.trace.Length)
	w.expire()
	for _, since := range w.waiting {
		w.books.waited(w.now - since)
	}
}

// step lets the next event happen.
func (w *world) step() {
	e := w.events.pop()
	w.advance(e.at)
	switch e.kind {
	case takerComes:
		if next := e.n + 1; next < len(w.takers) {
			w.events.push(event{at: w.takers[next], kind: takerComes, n: next})
		}
		w.take()
	case clientLearnsTake:
		w.clientIdle--
		w.clientOut++
		w.after(time.Duration(w.uses.ExpFloat64()*float64(meanUse)), event{kind: useEnds})
		w.rule.took(w)
	case serverHasDialed:
		w.books.made++
		w.offer()
	case clientHasDialed:
		w.dialing--
		w.clientIdle++
		w.rule.dialEnded(w, e.from, true)
	case dialRefused:
		w.dialing--
		w.rule.dialEnded(w, e.from, false)
	case useEnds:
		w.clientOut--
		if w.recycles {
			w.clientIdle++
			w.after(w.roundTrip/2, event{kind: serverHasReturned})
			w.rule.returned(w)
		} else {
			w.books.closed++
		}
	case serverHasReturned:
		w.books.returned++
		w.offer()
	case serverMayTell:
		w.telling = false
		if w.untold > 0 {
			w.tell(w.untold)
		}
	case clientLearnsNeed:
		w.rule.need(w, e.n)
	case ruleWakes:
		if e.n == w.wakes {
			w.rule.wake(w)
		}
	}
}

func (w *world) advance(to time.Duration) {
	w.books.pass(w.now, to, w.idle, len(w.waiting))
	w.now = to
}

func (w *world) after(d time.Duration, e event) {
	e.at = w.now + d
	w.events.push(e)
}

// take is a taker's coming: it takes an idle connection or waits.
func (w *world) take() {
	w.books.came(w.now)
	if w.idle > 0 {
		w.idle--
		w.handOut()
		return
	}
	w.expire()
	w.waiting = append(w.waiting, w.now)
	if w.telling {
		w.untold = len(w.waiting)
	} else {
		w.tell(len(w.waiting))
	}
}

// tell sends how many wait, and gathers who comes in the next moment.
func (w *world) tell(waiting int) {
	w.telling, w.untold = true, 0
	w.after(needSpacing, event{kind: serverMayTell})
	w.after(w.roundTrip/2, event{kind: clientLearnsNeed, n: waiting})
}

// offer gives a connection that the server has, new or returned, to who waited
// longest, or makes it idle.
func (w *world) offer() {
	w.expire()
	if len(w.waiting) == 0 {
		w.idle++
		return
	}
	w.books.waited(w.now - w.waiting[0])
	w.waiting = w.waiting[1:]
	w.handOut()
}

// expire lets those go who waited too long.
func (w *world) expire() {
	for len(w.waiting) > 0 && w.now-w.waiting[0] >= waitLimit {
		w.books.waited(waitLimit)
		w.books.gaveUp++
		w.waiting = w.waiting[1:]
	}
}

func (w *world) handOut() {
	w.books.handedOut++
	w.after(w.roundTrip/2, event{kind: clientLearnsTake})
}

// dial begins one, for the rule.
func (w *world) dial() {
	w.dialing++
	out := w.trace.outage.has(w.now)
	w.books.dialed(w.now, out)
	busy := time.Duration(w.dials.Int64N(int64(dialSpread)))
	if out {
		w.after(w.roundTrip+busy, event{kind: dialRefused, from: w.now})
		return
	}
	w.after(w.roundTrip*5/2+busy, event{kind: serverHasDialed})
	w.after(w.roundTrip*3+busy, event{kind: clientHasDialed, from: w.now})
}

// wakeAt asks for one wake, in place of the one asked for before.
func (w *world) wakeAt(at time.Duration) {
	w.wakes++
	w.events.push(event{at: max(at, w.now), kind: ruleWakes, n: w.wakes})
}
