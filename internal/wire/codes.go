package wire

import "fmt"

// DenyCode says why something was not granted, for a program to decide by. The
// text beside it is for people.
type DenyCode byte

// The codes of Deny, Registered, Forwarded, Answer and GoAway.
const (
	OK             DenyCode = 0  // granted; only in Registered, Forwarded and Answer
	PortNotAllowed DenyCode = 1  // the server's configuration excludes the port
	PortTaken      DenyCode = 2  // another program listens there
	PortHeld       DenyCode = 3  // another client holds it; the text names that client
	BindNotAllowed DenyCode = 4  // not an address that the server offers
	TooMany        DenyCode = 5  // a limit of the server is reached
	Unsupported    DenyCode = 6  // the server does not do that
	Shutdown       DenyCode = 7  // the program is stopping
	Internal       DenyCode = 8  // a failure of its own; its log has more
	Replaced       DenyCode = 9  // the same identity came back on another connection
	BadRequest     DenyCode = 10 // well formed, but makes no sense here
	IdentityInUse  DenyCode = 11 // another program with the same identity is connected, and answers

	TargetNotAllowed DenyCode = 12 // the server's configuration, or the key, excludes the target of a forward
)

var denyNames = [...]string{
	OK:             "ok",
	PortNotAllowed: "port not allowed",
	PortTaken:      "port taken by another program",
	PortHeld:       "port held by another client",
	BindNotAllowed: "bind address not allowed",
	TooMany:        "too many",
	Unsupported:    "unsupported",
	Shutdown:       "shutting down",
	Internal:       "internal error",
	Replaced:       "replaced by a newer session",
	BadRequest:     "bad request",
	IdentityInUse:  "identity in use",

	TargetNotAllowed: "target not allowed",
}

// String says the code in words.
func (c DenyCode) String() string { return codeName("code", denyNames[:], byte(c)) }

func (c DenyCode) known() bool { return int(c) < len(denyNames) }

// Standing says, in an Answer, who has what was asked for, if it would be granted.
type Standing byte

// The standings of an Answer.
const (
	Vacant      Standing = 0 // nobody
	OwnUp       Standing = 1 // the client that the question is for, which is connected
	OwnAway     Standing = 2 // that client, which is not connected: it is kept for its return
	GroupShared Standing = 3 // the clients of its group, which would share it
	HolderDumb  Standing = 4 // another client, which does not answer and would lose it
)

func (s Standing) known() bool { return s <= HolderDumb }

// ResetReason says why a stream was aborted. Zero is no reason.
type ResetReason byte

// The reasons of a RESET frame.
const (
	ResetAborted     ResetReason = 1 // the endpoint, user or target, reset its connection or failed
	ResetRefused     ResetReason = 2 // the target refused the connection
	ResetUnreachable ResetReason = 3 // no route to the target, or its name was not found
	ResetTimeout     ResetReason = 4 // the target did not answer in time
	ResetShutdown    ResetReason = 5 // the program is stopping
	ResetInternal    ResetReason = 6 // a failure of its own; its log has more
	ResetOverloaded  ResetReason = 7 // the client serves as many streams as it can
)

var resetNames = [...]string{
	ResetAborted:     "aborted",
	ResetRefused:     "target refused the connection",
	ResetUnreachable: "target unreachable",
	ResetTimeout:     "target timed out",
	ResetShutdown:    "shutting down",
	ResetInternal:    "internal error",
	ResetOverloaded:  "overloaded",
}

// String says the reason in words.
func (r ResetReason) String() string { return codeName("reset reason", resetNames[:], byte(r)) }

func (r ResetReason) known() bool { return r != 0 && int(r) < len(resetNames) }

// Outcome is what a client says of a canceled stream. Zero is none.
type Outcome byte

// The outcomes of a Canceled message.
const (
	Committed Outcome = 1 // the target is being dialed, or was
	Refused   Outcome = 2 // START was not there; the stream can never commit now
	Unknown   Outcome = 3 // never heard of, or forgotten
)

var outcomeNames = [...]string{Committed: "committed", Refused: "refused", Unknown: "unknown"}

// String returns the outcome in a word.
func (o Outcome) String() string { return codeName("outcome", outcomeNames[:], byte(o)) }

func (o Outcome) known() bool { return o != 0 && int(o) < len(outcomeNames) }

// Disposition says what becomes of a connection whose stream is over. Zero is
// none.
type Disposition byte

// The dispositions of a DONE frame.
const (
	Keep  Disposition = 1 // it returns to both pools
	Close Disposition = 2 // it is closed
)

var dispositionNames = [...]string{Keep: "keep", Close: "close"}

// String returns "keep" or "close".
func (p Disposition) String() string { return codeName("disposition", dispositionNames[:], byte(p)) }

func (p Disposition) known() bool { return p != 0 && int(p) < len(dispositionNames) }

// codeName looks a code up, and makes up a name for what the table does not
// hold: such values may be printed, though never decoded.
func codeName(what string, names []string, code byte) string {
	if int(code) < len(names) && names[code] != "" {
		return names[code]
	}
	return fmt.Sprintf("%s %d", what, code)
}
