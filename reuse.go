package pool

import (
	"context"
	"errors"
	"net"
	"time"
)

// Do calls f with a connection that it takes with [Pool.Get], whose errors it
// returns. When f returns nil, or an error marked with [Keep], the connection is
// put back; on another error, and when f panics, it is discarded, so that what
// broke never comes back. f must not keep the connection, nor end it, and should
// not call Do of the same pool: at MaxOpen it waits for its own connection.
func (p *Pool) Do(ctx context.Context, f func(net.Conn) error) error {
	c, err := p.Get(ctx)
	if err != nil {
		return err
	}
	return use(c, f)
}

// errPanic is why a connection goes whose user panicked.
var errPanic = errors.New("its user panicked")

// use calls f with a connection that was handed out, and ends its use.
func use(c *Conn, f func(net.Conn) error) error {
	p, err := c.pool, errPanic
	defer func() {
		if err != nil {
			p.Discard(c.ID(), c, err)
		}
	}()
	result := f(c)
	err = result
	var kept *keptError
	if errors.As(result, &kept) {
		err = nil
		if result == error(kept) {
			result = kept.err
		}
	}
	if err == nil {
		p.Put(c.ID(), c)
	}
	return result
}

// Keep marks an error that is no fault of the connection on which it came, as
// an answer "not found" is: [Pool.Do] puts the connection back, and returns err.
// Keep(nil) is nil.
func Keep(err error) error {
	if err == nil {
		return nil
	}
	return &keptError{err}
}

type keptError struct{ err error }

func (e *keptError) Error() string { return e.err.Error() }
func (e *keptError) Unwrap() error { return e.err }

// Discard ends a connection that was handed out and broke, or may have: it is
// closed, and never comes back. conn is what the getter returned, or a wrapper of
// it, and id its ID, as for [Pool.Put]; err, which may be nil, is told to
// whoever watches the pool. It differs from [Conn.Close] in what is counted: a
// fault, not the end of a use.
func (p *Pool) Discard(id string, conn net.Conn, err error) {
	if nothing(conn) {
		return
	}
	c := handleBelow(conn)
	if c == nil || !p.handedOut(c, id) {
		conn.Close()
		return
	}
	if _, mine := c.retire(); !mine {
		return
	}
	p.mu.Lock()
	p.removeFaultyLocked(c.entry, ClosedDiscarded, err)
	p.mu.Unlock()
	c.entry.cut()
}

// handedOut reports whether c is a handle that this pool gave a holder, for the
// connection with that ID.
func (p *Pool) handedOut(c *Conn, id string) bool {
	return c.pool == p && c.entry.text == id && c != c.entry.own
}

// Fresh makes a connection for its caller alone, dialed, secured and set up now,
// for what must not be shared with later users, as a log-in. It is never pooled:
// [Pool.Put] says goodbye and closes it. MaxOpen does not bound it, and it does
// not count there; [Pool.Drain] waits for it. Its errors are those of dial and
// Setup, and of [Pool.Get]. It is for pools of [NewLocal]; elsewhere it is
// [errors.ErrUnsupported].
func (p *Pool) Fresh(ctx context.Context) (*Conn, error) {
	if p.local == nil {
		if err := p.Err(); err != nil {
			return nil, err
		}
		return nil, errors.ErrUnsupported
	}
	return p.dialSingle(ctx)
}

// dialSingle makes a connection that is handed out once.
func (p *Pool) dialSingle(ctx context.Context) (*Conn, error) {
	p.mu.Lock()
	if err := p.refusalLocked(); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	p.wg.Add(1)
	p.mu.Unlock()
	defer p.wg.Done()

	dialing, cancel := context.WithTimeout(ctx, p.client.timeout)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	asked := time.Now()
	e, err := p.client.connect(dialing)
	c, err := p.adoptSingle(ctx, e, err)
	switch {
	case err != nil && e != nil:
		closeBelowTLS(e.conn)
		return nil, err
	case err != nil:
		return nil, err
	}
	p.handOver(c)
	p.acquired(c, asked)
	return c, nil
}

// adoptSingle books how the dial for a single connection ended, and hands it out.
// What ended the dial is the pool's end, or the caller's, rather than what it met.
func (p *Pool) adoptSingle(ctx context.Context, e *entry, err error) (*Conn, error) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if refusal := p.refusalLocked(); refusal != nil {
		return nil, refusal
	}
	if err != nil && ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	p.dialedLocked(err)
	if err != nil {
		return nil, err
	}
	e.single = true
	p.singles++
	p.byID[e.id] = e
	p.createdLocked(e)
	p.count.delivered++ // it was not there when it was asked for
	return p.handOutLocked(e, now), nil
}
