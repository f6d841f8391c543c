package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// holder is what a server knows of a key whose clients have joined: what it may
// do, and its share of what all keys have together.
type holder struct {
	key     pool.KeyID
	grant   atomic.Pointer[Grant]
	users   *crowd
	rate    liveRate // of what passes for its users
	pooled  pooledBudget
	streams context.Context // of its users; ends when the key is taken back, or with all streams
	revoke  context.CancelFunc
}

// holderLocked finds the holder of a key, or makes it known. False: the key is
// not on the keyring any more.
func (s *Server) holderLocked(key pool.KeyID) (*holder, bool) {
	grant, ok := s.keyring.Lookup(key)
	if !ok {
		return nil, false
	}
	h := s.holders[key]
	if h == nil {
		now := s.cfg.Load()
		h = &holder{key: key, users: newCrowd(0, now.Wait)}
		h.pooled.limit.Store(int64(half(now.MaxPooled)))
		h.streams, h.revoke = context.WithCancel(s.streams)
		s.holders[key] = h
	}
	s.entitle(h, grant)
	return h, true
}

// entitle gives a holder its grant, and the share of the users that goes with
// it: where there are several keys at most half, so that the thief of one
// leaves room for others.
func (s *Server) entitle(h *holder, grant Grant) {
	h.grant.Store(&grant)
	now := s.cfg.Load()
	places := now.MaxStreams
	if s.severalKeys() {
		places = half(places)
	}
	if grant.MaxStreams > 0 {
		places = min(places, grant.MaxStreams)
	}
	h.users.set(places, now.Wait)
	h.rate.set(grant.Rate)
}

func (s *Server) severalKeys() bool { return s.keyring.Len() > 1 }

// followKeyring applies what becomes of the keyring while streams may run.
func (s *Server) followKeyring() {
	for {
		changed := s.keyring.Changed()
		s.applyKeyring()
		select {
		case <-changed:
		case <-s.streams.Done():
			return
		}
	}
}

// ApplyKeyring has what the [Keyring] says now take effect before it returns, which
// a running server does by itself within moments: users of keys that are gone are
// cut off, their clients sent away, and nobody with such a key is let in.
func (s *Server) ApplyKeyring() { s.applyKeyring() }

// revokedFarewell bounds how long the news of its end may take to reach a
// client whose key was taken back.
const revokedFarewell = 300 * time.Millisecond

// applyKeyring ends what belongs to keys that are gone, and holds the others to
// their rights.
func (s *Server) applyKeyring() {
	gone, renewed := s.compareKeyring()
	for _, c := range gone {
		text := "key " + c.holder.label() + " is not valid any more"
		pool.Tell(s.log, slog.LevelWarn, "client_cut_off", c.ofClient("address", c.remote, "reason", text),
			"%s at %s is cut off: %s", c.name(), c.remote, text)
		s.dismiss(c, text, revokedFarewell)
	}
	for _, c := range renewed {
		s.callBack(c, "the rights of key "+c.holder.label()+" have changed")
	}
}

// callBack ends a session so that its client joins again.
func (s *Server) callBack(c *serverSession, why string) {
	pool.Tell(s.log, slog.LevelInfo, "client_called_back", c.ofClient("address", c.remote, "reason", why),
		"%s at %s is asked to join again: %s", c.name(), c.remote, why)
	s.dismiss(c, why, farewellLimit)
}

// dismiss ends a session. Its client may come back, if it can.
func (s *Server) dismiss(c *serverSession, text string, limit time.Duration) {
	c.stop() // first: a port that is being opened meanwhile finds the session over
	c.sayGoodbye(wire.GoAway{Code: wire.Shutdown, Text: text})
	s.tasks.Go(func() { c.link.Finish(limit) }) // ends within limit
}

// compareKeyring cuts the users of keys that are gone, closes ports that are
// nobody's right any more, and returns the sessions to end: of keys that are
// gone, and of those with other ports than before.
func (s *Server) compareKeyring() (gone, renewed []*serverSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	others := make(map[*holder]bool) // whose rights have changed
	for id, h := range s.holders {
		grant, ok := s.keyring.Lookup(id)
		if !ok {
			h.revoke() // with it nothing that is under way comes up any more
			delete(s.holders, id)
			continue
		}
		before := h.grant.Load()
		others[h] = grant.Ports != before.Ports || grant.Forwards != before.Forwards
		s.entitle(h, grant)
	}
	for _, p := range s.publishers {
		var lost []*published
		for _, sv := range p.services {
			if sv.holder.streams.Err() != nil || !sv.holder.grant.Load().MayPublish(sv.port()) {
				lost = append(lost, sv)
			}
		}
		p.withdrawLocked(lost...)
		s.trimLocked(p)
	}
	for _, c := range s.sessions {
		switch h := c.holder; {
		case h.streams.Err() != nil:
			s.forgetLocked(c)
			gone = append(gone, c)
		case others[h]:
			renewed = append(renewed, c)
		}
	}
	return gone, renewed
}

func (h *holder) label() string { return h.grant.Load().label() }

// mayPublish says what keeps the key from a port, nothing if it may have it.
func (h *holder) mayPublish(port uint16) (reason string) {
	g := h.grant.Load()
	if g.MayPublish(port) {
		return ""
	}
	may := g.Ports + " only"
	if g.Ports == noneAtAll {
		may = "nothing"
	}
	return fmt.Sprintf("key %s may publish %s; the server's operator can change that: tunnel-server key --help", g.label(), may)
}
