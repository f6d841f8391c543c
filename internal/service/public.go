package service

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// Accept errors (a full descriptor table, mostly) pause the loop, from
	// minPause doubling to maxPause, as net/http's Serve does.
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// Public is one public port. Its users are strangers.
type Public struct {
	listener net.Listener
	warn     func(err error) // an accept error that is no end
}

// NewPublic takes over a listener. warn is told of accept errors that the loop
// survives, once per run of errors.
func NewPublic(l net.Listener, warn func(error)) *Public {
	return &Public{listener: l, warn: warn}
}

// Addr is where users reach the service.
func (p *Public) Addr() net.Addr { return p.listener.Addr() }

// Serve accepts users and calls handle for each in a goroutine of its own,
// until ctx ends or Close is called; then it waits for all of them.
func (p *Public) Serve(ctx context.Context, handle func(net.Conn)) {
	stop := context.AfterFunc(ctx, func() { p.listener.Close() })
	defer stop()
	var users sync.WaitGroup
	defer users.Wait()
	pause := time.Duration(0)
	for {
		conn, err := p.listener.Accept()
		if err == nil {
			pause = 0
			users.Go(func() { handle(conn) })
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if pause == 0 {
			p.warn(err)
		}
		pause = min(max(2*pause, minPause), maxPause)
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// Close stops accepting. Users who are in stay.
func (p *Public) Close() error { return p.listener.Close() }
