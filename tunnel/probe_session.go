package tunnel

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

// probePings is how many pings tell of the round trip.
const probePings = 5

// probeSession is the session of a client that only asks.
type probeSession struct {
	conn    net.Conn
	welcome wire.Welcome
	link    *session.Link // nil before begin
	answers chan wire.Answer
	tasks   sync.WaitGroup
	ended   error // why the link has; set when tasks are over
}

func newProbeSession(conn net.Conn, w wire.Welcome) *probeSession {
	return &probeSession{conn: conn, welcome: w, answers: make(chan wire.Answer, 2*maxServices)}
}

func randomIdentity() (id [16]byte) {
	rand.Read(id[:])
	return id
}

// pings measures the round trip, before begin: a link of package session keeps
// pings to itself.
func (s *probeSession) pings(ctx context.Context) (median, most time.Duration, err error) {
	s.conn.SetDeadline(time.Now().Add(handshakeTimeout))
	defer s.conn.SetDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { s.conn.Close() })()
	var samples []time.Duration
	for nonce := range uint64(probePings) {
		begun := time.Now()
		if err := s.ping(nonce); err != nil {
			return 0, 0, fmt.Errorf("a ping was not answered: %w", err)
		}
		samples = append(samples, time.Since(begun))
	}
	slices.Sort(samples)
	return samples[probePings/2], samples[probePings-1], nil
}

// ping waits for the answer to one ping, and answers the server's.
func (s *probeSession) ping(nonce uint64) error {
	if _, err := s.conn.Write(wire.AppendMessage(nil, wire.Ping{Nonce: nonce})); err != nil {
		return err
	}
	buf := make([]byte, wire.MessageHeaderSize+wire.MaxMessage)
	for {
		m, err := wire.ReadMessage(s.conn, buf)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case wire.Pong:
			if m.Nonce == nonce {
				return nil
			}
		case wire.Ping:
			if _, err := s.conn.Write(wire.AppendMessage(nil, wire.Pong(m))); err != nil {
				return err
			}
		case wire.GoAway:
			return errors.New(quoteSafe(m.Text))
		default:
			return fmt.Errorf("the server sent %v instead", m.Type())
		}
	}
}

// begin lets the session live on its own, until leave.
func (s *probeSession) begin() {
	s.link = session.New(s.conn, s.welcome.Heartbeat)
	s.tasks.Go(func() { s.ended = s.link.Run(context.Background(), s.handle) }) // ends with the link
}

func (s *probeSession) handle(m wire.Message) error {
	switch m := m.(type) {
	case wire.Answer:
		select {
		case s.answers <- m:
		default:
			return errors.New("more answers than questions")
		}
	case wire.GoAway:
		return errors.New(quoteSafe(m.Text))
	}
	return nil
}

// ask asks one question.
func (s *probeSession) ask(ctx context.Context, q wire.Ask) (wire.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	s.link.Send(q)
	for {
		select {
		case a := <-s.answers:
			if a.About == q.About.Type() && a.Ref == refOf(q.About) { // else one that came too late
				return a, nil
			}
		case <-s.link.Done():
			s.tasks.Wait()
			return wire.Answer{}, fmt.Errorf("the session has ended: %w", s.ended)
		case <-ctx.Done():
			return wire.Answer{}, context.Cause(ctx)
		}
	}
}

func refOf(m wire.Message) uint16 {
	switch m := m.(type) {
	case wire.Register:
		return m.Ref
	case wire.Forward:
		return m.Ref
	}
	return wire.RefProbe
}

// leave ends the session. Nil has none to end.
func (s *probeSession) leave() {
	switch {
	case s == nil:
		return
	case s.link == nil:
		s.conn.Close()
		return
	}
	s.link.Send(wire.GoAway{Code: wire.Shutdown, Text: "the check is over"})
	s.link.Finish(farewellLimit)
	s.tasks.Wait()
}
