package tunnel

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/access"
)

// userSources are where a service's users may come from, which changes when the
// service is registered anew. The zero value is anywhere.
type userSources struct {
	now atomic.Pointer[access.Sources]
}

func (u *userSources) set(s access.Sources) { u.now.Store(&s) }

func (u *userSources) allow(user net.Addr) bool {
	s := u.now.Load()
	return s == nil || s.Allow(user)
}

// parseSources reads what a client registered; "" is anywhere.
func parseSources(text string) (access.Sources, error) {
	if text == "" {
		return access.Sources{}, nil
	}
	return access.ParseSources(text)
}

// fromElsewhere counts a user that the service's client does not let in, and
// tells of it now and then.
func (s *Server) fromElsewhere(user, public net.Addr) {
	s.count.elsewhere.Add(1)
	if muted, ok := s.strange.pass(time.Now()); ok {
		pool.Tell(s.log, slog.LevelWarn, "user_not_allowed", facts{"user", user, "public", public, "muted", muted},
			"User %s on %s is reset: the client lets in users of other prefixes only; see its --allow-from%s",
			user, public, mutedNote(muted))
	}
}
