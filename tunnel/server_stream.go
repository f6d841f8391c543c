package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/relay"
	"github.com/tunnelpool/pool/internal/session"
	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// maxWaiting bounds the users of one client that wait for a connection, or
	// for the client.
	maxWaiting = 4096

	// The waiting time for ACK, from the control connection's round trip.
	minAckWait   = 100 * time.Millisecond
	maxAckWait   = 2 * time.Second
	firstAckWait = time.Second // before the first sample

	// owedWait is how long an ACK may take whose client says that it committed:
	// a target may have seen the user, so all that is left is to wait or to
	// reset, and nothing is gained by a reset. TCP sends a lost segment again
	// after 0.2, 0.6, 1.4 and 3 s, if nobody tells it earlier.
	owedWait = 4 * time.Second
)

// visit is one user, from accept to the end of the stream.
type visit struct {
	server   *Server
	service  *published
	user     net.Conn
	arrived  time.Time
	patience time.Time // until when the user may wait to be taken
	attempts int       // offers so far
	dead     int       // pooled connections that were found dead

	backend *backend // that the latest attempt is on, counted there; nil: none yet
	grouped bool     // the service may have several
	others  bool     // it had, when the user was last assigned one
	onTrial bool     // the backend failed others before

	held bool          // in the service's line
	turn chan struct{} // the users before it in the line are gone; nil until it was in one
}

// serveUser takes one user through: a warm connection, a stream, and the
// connection back. It owns user. It may return before that, see over.
func (s *Server) serveUser(sv *published, user net.Conn) {
	arrived := time.Now()
	if user = s.introduce(sv, user); user == nil {
		sv.entrance.left()
		return
	}
	v := &visit{server: s, service: sv, user: user, arrived: arrived, patience: time.Now().Add(s.cfg.Load().Wait)}
	s.tasks.Add(1)
	s.active.add()
	relay.Serve(sv.holder.streams, user, v.offer, v.over)
}

// over books what became of the user.
func (v *visit) over(res relay.Result) {
	s, sv, user := v.server, v.service, v.user
	defer s.tasks.Done()
	defer s.active.done()
	defer sv.entrance.left()
	v.judge(res)
	s.count.sent.Add(res.Sent)
	s.count.received.Add(res.Received)
	if v.dead > 0 {
		pool.Tell(s.log, slog.LevelInfo, "dead_connections", sv.ofService("user", user.RemoteAddr(), "connections", v.dead),
			"%s: user %s met %d dead connections; those as old were closed", sv.label(), user.RemoteAddr(), v.dead)
	}
	switch {
	case errors.Is(res.Err, relay.ErrNoAck):
		s.count.noAck.Add(1)
		pool.Tell(s.log, slog.LevelWarn, "user_lost", sv.ofService("user", user.RemoteAddr(), "error", res.Err),
			"%s: user %s lost: %v", sv.label(), user.RemoteAddr(), res.Err)
	case res.Err != nil && pool.Wanted(s.log, slog.LevelDebug):
		pool.Tell(s.log, slog.LevelDebug, "stream_broke", sv.ofService("user", user.RemoteAddr(), "error", res.Err),
			"%s: the stream of user %s broke: %v", sv.label(), user.RemoteAddr(), res.Err)
	}
}

// offer makes one attempt: a way to the client in its current session, and a
// stream announced on it. While the client is away the user waits for it, and
// a user does not fall with the session that its connection was to come from.
// Those who waited are served in order of arrival.
func (v *visit) offer(ctx context.Context) (*relay.Offering, error) {
	if v.attempts > 0 {
		v.service.doubt(v.backend)
	}
	leave, err := v.queue()
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithDeadline(ctx, v.patience)
	defer cancel()
	defer context.AfterFunc(v.service.entrance.ctx, cancel)() // the port closes
	for {
		c, ref, err := v.session(ctx)
		if err != nil {
			return nil, v.waitedInVain(err)
		}
		if ctx.Err() != nil {
			return nil, v.waitedInVain(pool.ErrTimeout)
		}
		c, ref, sought := v.seek(c, ref)
		v.leaveLine() // its place is in the pool now, if it needs one
		w, c, ref, err := v.find(ctx, c, ref, sought)
		if err == nil {
			if o, err := w.offer(v, c, ref); err == nil {
				return o, nil
			}
			continue // the session ends, the service is withdrawn, or the carrier has just become full
		}
		if !c.over() || ctx.Err() != nil {
			return nil, v.waitedInVain(err)
		}
	}
}

// queue counts the user among those who wait, up to a bound.
func (v *visit) queue() (leave func(), err error) {
	s := v.server
	s.mu.Lock()
	p := v.service.backends[0].owner
	s.mu.Unlock()
	if p.waiting.Add(1) > maxWaiting {
		p.waiting.Add(-1)
		s.count.overflowed.Add(1)
		return nil, fmt.Errorf("%d users wait already", maxWaiting)
	}
	return func() { p.waiting.Add(-1) }, nil
}

var errEnding = errors.New("the client's session ended")

// waitedInVain counts and logs users whose patience ended.
func (v *visit) waitedInVain(err error) error {
	s := v.server
	away := errors.Is(err, errAway)
	if s.streams.Err() != nil || !away && !errors.Is(err, pool.ErrTimeout) {
		return err
	}
	s.count.timeouts.Add(1)
	hint := "can the client reach this server's port?"
	if away {
		hint = "the client is away"
	}
	pool.Tell(s.log, slog.LevelWarn, "user_timed_out", v.service.ofService("user", v.user.RemoteAddr(), "waited_seconds", s.cfg.Load().Wait, "reason", hint),
		"%s: user %s waited %v for a connection and got none; %s",
		v.service.label(), v.user.RemoteAddr(), s.cfg.Load().Wait, hint)
	return err
}

// offering is a stream that was announced on a connection, where an ACK is not
// late before least; end takes the connection back.
func (v *visit) offering(c *serverSession, number uint32, least time.Duration, conn net.Conn, end func(relay.Verdict)) *relay.Offering {
	traffic := &v.backend.traffic
	c.server.count.streams.Add(1)
	traffic.streams.Add(1)
	if v.attempts > 0 {
		c.server.count.replays.Add(1)
		traffic.retries.Add(1)
	}
	wait := min(max(ackWait(c.link), least)<<v.attempts, maxAckWait) // a client that is merely slow gets more time
	v.attempts++
	return &relay.Offering{
		Conn: conn, Number: number, AckWait: wait, OwedWait: owedWait,
		Ask: v.asker(c, number), Lost: v.lost(c), End: end,
		Limit: c.holder.streamLimit(v.service.network),
		Meter: &traffic.Meter, FirstByte: v.answered,
	}
}

// answered notes how long the user waited for the first byte.
func (v *visit) answered() {
	took := time.Since(v.arrived)
	v.server.count.firstByte.Observe(took)
	if v.backend != nil {
		v.backend.traffic.firstByte.Observe(took)
	}
}

// ackWait is when an ACK is late. It may be early rather than late: before the
// other side is asked, a sign of life takes another round trip, as long as that is
// just then.
func ackWait(link *session.Link) time.Duration {
	roundTrip, variation := link.RTT()
	if roundTrip == 0 {
		return firstAckWait
	}
	return min(max(roundTrip+4*variation, minAckWait), maxAckWait)
}

// announce numbers a stream and tells the client of it, in one critical
// section, so that numbers go out in order. False: the session is ending, the
// service is not the backend's under that ref any more, or the client's numbers are
// used up and the session ends, so that it comes back as a new instance.
func (c *serverSession) announce(b *backend, ref uint16, message func(number uint32) wire.Message) (uint32, bool) {
	number, ok := c.tell(b, ref, message)
	if !ok && number == lastNumber {
		c.link.Close(errNumbersUsed) // without the locks: it can take a while
	}
	return number, ok
}

func (c *serverSession) tell(b *backend, ref uint16, message func(number uint32) wire.Message) (uint32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || c.refs[ref] != b {
		return 0, false // nothing is opened behind a GoAway, or a Withdrawn
	}
	return c.numbers.next(func(number uint32) { c.link.Send(message(number)) })
}

var errNumbersUsed = errors.New("stream numbers are used up; a new session begins at 1")
