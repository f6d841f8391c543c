package pool

import (
	"context"
	"errors"
	"net"
	"os"
)

// The errors a caller decides by. They arrive wrapped with what was being
// done, so test for them with [errors.Is].
var (
	// ErrClosed: the pool is closed. It is also [net.ErrClosed] and
	// [context.Canceled] to errors.Is, which callers of the seed API test for.
	ErrClosed error = &sentinel{text: "pool closed", also: []error{net.ErrClosed, context.Canceled}}

	// ErrTimeout: nothing arrived in the time allowed. It is a [net.Error]
	// whose Timeout is true, and [context.DeadlineExceeded] to errors.Is.
	ErrTimeout error = &sentinel{text: "timed out waiting for a connection", timeout: true,
		also: []error{context.DeadlineExceeded, os.ErrDeadlineExceeded}}

	// ErrBadID: the text is not the form of a connection's ID.
	ErrBadID = errors.New("malformed connection ID")

	// ErrNotFound: the connection with that ID was here and is gone.
	ErrNotFound = errors.New("no such connection")

	// ErrFull: the pool holds as many connections as its limit allows.
	ErrFull = errors.New("pool is full")

	// ErrTooManyWaiters: as many wait for a connection as Limits.MaxWaiters allows.
	ErrTooManyWaiters = errors.New("too many wait for a connection")

	// ErrLookOnly: the Check of a pair's pool may look at a connection, not use it:
	// what it reads would be missing, and what it writes be read by the next user.
	ErrLookOnly = errors.New("a check of a paired connection may look, not read, write or close")

	// ErrTooManyKeys: as many of a group's keys are in use as GroupConfig.MaxKeys
	// allows.
	ErrTooManyKeys = errors.New("too many keys are in use")

	// ErrBadKey: the text is not a key. The message says what a key looks like.
	ErrBadKey = errors.New("malformed key")

	// ErrTLSMode: the text names no TLS mode. It never means plain TCP.
	ErrTLSMode = errors.New("unknown TLS mode")

	// ErrTLSMismatch: the other side speaks TLS where this one does not, or
	// the reverse.
	ErrTLSMismatch = errors.New("the two sides use different TLS modes")

	// ErrRefused: the other side closed the connection instead of answering
	// our proof: it does not know the key, or not the session.
	ErrRefused = errors.New("key refused")

	// ErrCertificateRefused: the server demands a client certificate of its
	// authority, and none was shown, or another.
	ErrCertificateRefused = errors.New("client certificate refused")

	// ErrBusy: the other side hears nobody from this address for the moment,
	// or hardly anybody, because too many attempts failed. It says nothing of
	// the key, and is worth trying again soon.
	ErrBusy = errors.New("the server is busy turning others away")

	// ErrImpostor: the other side could not prove that it holds the key. Either
	// it is not the server, or someone sits between.
	ErrImpostor = errors.New("the other side does not hold the key")
)

// sentinel is an error that is also others to errors.Is.
// timeUp is ErrTimeout where something else than a connection was waited for.
func timeUp(text string) error {
	return &sentinel{text: text, timeout: true, also: []error{ErrTimeout, context.DeadlineExceeded, os.ErrDeadlineExceeded}}
}

type sentinel struct {
	text    string
	timeout bool
	also    []error
}

func (e *sentinel) Error() string   { return e.text }
func (e *sentinel) Timeout() bool   { return e.timeout }
func (e *sentinel) Temporary() bool { return e.timeout }

func (e *sentinel) Is(target error) bool {
	for _, other := range e.also {
		if target == other {
			return true
		}
	}
	return false
}
