package tunnel

import (
	"log/slog"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/service"
)

// facts are an event's attributes. What the keys mean is in docs/LOGS.md.
type facts = pool.Facts

// ofClient begins the facts of what happens to a session.
func (c *serverSession) ofClient(more ...any) facts {
	return append(facts{"client", c.who.Name}, more...)
}

// ofService begins the facts of what happens at a public port.
func (sv *published) ofService(more ...any) facts {
	sv.server.mu.Lock()
	defer sv.server.mu.Unlock()
	if sv.group != "" {
		return append(facts{"group", sv.group, "service", sv.name}, more...)
	}
	return append(facts{"client", sv.backends[0].owner.name, "service", sv.name}, more...)
}

// tellTrouble tells that users cannot come in where, or can again.
func tellTrouble(log pool.Logger, t service.Trouble, where facts, name string) {
	if t.Err != nil {
		pool.Tell(log, slog.LevelWarn, "accept_failed", append(where, "error", t.Err), "%s: %s", name, t.Text)
		return
	}
	pool.Tell(log, slog.LevelWarn, "accept_works", append(where, "lasted_seconds", t.Lasted), "%s: %s", name, t.Text)
}
