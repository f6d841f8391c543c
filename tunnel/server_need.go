package tunnel

import (
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// needSpacing is the least time between two Need messages to a client. The
// first of a burst goes out at once; what follows is gathered.
const needSpacing = 5 * time.Millisecond

// demand paces Need messages.
type demand struct {
	mu      sync.Mutex
	spacing bool // a message went out less than needSpacing ago
	latest  int  // how many wait, told since then; 0: nothing new
}

// need is the pool's word that users wait: the client dials for them at once.
func (c *serverSession) need(waiting int) {
	c.asking.mu.Lock()
	defer c.asking.mu.Unlock()
	if c.asking.spacing {
		c.asking.latest = waiting
		return
	}
	c.sendNeedLocked(waiting)
}

func (c *serverSession) sendNeedLocked(waiting int) {
	c.asking.spacing, c.asking.latest = true, 0
	c.link.Send(wire.Need{Count: uint16(min(waiting, 1<<16-1))})
	time.AfterFunc(needSpacing, func() {
		c.asking.mu.Lock()
		defer c.asking.mu.Unlock()
		c.asking.spacing = false
		if c.asking.latest > 0 {
			c.sendNeedLocked(c.asking.latest)
		}
	})
}
