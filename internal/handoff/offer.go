package handoff

import "fmt"

// MaxAttempts is on how many connections one user is offered at most.
const MaxAttempts = 3

// Answer is what the client says of a canceled number.
type Answer uint8

const (
	Committed Answer = 1 // the target is being dialed, or was: never replay
	Refused   Answer = 2 // START had not come; this number can never commit now
	Unknown   Answer = 3 // forgotten: it may have been either
)

func (a Answer) String() string {
	switch a {
	case Committed:
		return "committed"
	case Refused:
		return "refused"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("answer %d", uint8(a))
}

// Event is something that the server learns about an offer.
type Event uint8

const (
	Acked     Event = iota // ACK arrived on the connection
	Expired                // the waiting time passed
	Died                   // the connection broke
	Abandoned              // nobody will answer any more: the client, or its memory, is gone
)

// Action is what the server does next.
type Action uint8

const (
	Wait    Action = iota // for the next event; the waiting time runs anew
	Ask                   // send cancel, on this control connection or the next, and wait
	Replay                // close the connection; offer the copy on another one
	Proceed               // the stream is the client's: drop the copy and relay
	Reset                 // close the connection and reset the user
)

// Offer is one user's hand-off. Its zero value has just been sent: START and
// the user's first bytes are on their way, and open is announced.
type Offer struct {
	state    offerState
	attempts int  // replays so far
	dead     bool // this attempt's connection broke
}

type offerState uint8

const (
	offered offerState = iota // waiting for ACK
	asked                     // waiting for the answer, or a late ACK
	owed                      // the answer was committed: ACK must follow
	settled                   // over
)

// On takes an event. copyEmpty tells that the user has sent nothing yet, not
// even an end-of-file.
func (o *Offer) On(e Event, copyEmpty bool) Action {
	if o.state == settled {
		return Wait
	}
	switch e {
	case Acked:
		o.state = settled
		return Proceed
	case Died:
		o.dead = true
		return o.lacking()
	case Expired:
		return o.lacking()
	case Abandoned:
		if o.state == asked {
			return o.replayIf(copyEmpty)
		}
	}
	return Wait
}

// lacking is the reaction to an ACK that does not come.
func (o *Offer) lacking() Action {
	switch o.state {
	case offered:
		o.state = asked
		return Ask
	case owed:
		o.state = settled
		return Reset
	}
	return Wait
}

// Answered takes the client's answer. An answer that nothing asked for changes
// nothing.
func (o *Offer) Answered(a Answer, copyEmpty bool) Action {
	if o.state != asked {
		return Wait
	}
	switch a {
	case Committed:
		if o.dead {
			o.state = settled
			return Reset
		}
		o.state = owed
		return Wait
	case Refused:
		return o.replayIf(true)
	}
	return o.replayIf(copyEmpty)
}

// replayIf offers the copy anew while attempts are left, and where that is
// safe.
func (o *Offer) replayIf(safe bool) Action {
	if !safe || o.attempts+1 >= MaxAttempts {
		o.state = settled
		return Reset
	}
	*o = Offer{attempts: o.attempts + 1}
	return Replay
}
