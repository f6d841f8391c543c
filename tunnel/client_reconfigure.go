package tunnel

import (
	"cmp"
	"errors"
	"reflect"
	"strings"
	"time"

	pool "github.com/tunnelpool/pool"
)

// releaseLimit bounds how long a server may take to confirm that nothing is open
// any more for a session that makes way for another.
const releaseLimit = 2 * time.Second

const notConnectedYet = "not connected yet"

// Reconfigure replaces the configuration while the client runs; it may be called
// before Run too, and at any time from any goroutine. All of cfg is checked first,
// and the addresses of new forwards are opened: after an error nothing has changed.
// It is that of [NewClient], or [ErrStopping].
//
// What is applied, and how:
//
//   - Services. One with the same Network, Bind and Port as before, and for port 0
//     with the same Name, keeps its public port. Whatever else of it changes holds
//     for users who come from then on, a Rate for streams in progress too, if there
//     was one; those go on as they are. Other services are published, and those
//     that are gone are withdrawn: their ports close at once and their streams
//     finish, but for flows of UDP, which end with their port. A service that
//     shares its port with clients of a group leaves them when its Group, Name or
//     AllowFrom changes.
//   - Forwards. One with the same Network and Listen, and for port 0 with the same
//     Name, keeps its address. Streams in progress finish in any case.
//   - Drain, and MaxStreams as far as this end holds users to it.
//   - Server, Key, TLS, TLSConfig (another pointer is another one), ServerName,
//     Name, PoolMin, PoolMax, PoolMinInterval, PoolMaxInterval, MaxStreams,
//     Carriers, KeepAlive and Heartbeat, and the first service or forward and the
//     end of the last: by another session, which takes over as soon as the server
//     has taken it in. Until then, and for as long as that fails, the former one
//     serves, with the services of cfg. Streams in progress finish on it. At the
//     same server with the same key the public ports stay open; else they close at
//     the one before they open at the other.
//
// restart names the fields that differ and are not applied: Identity, Dial and
// Logger stay what [NewClient] was given. A zero Identity, and no Dial or Logger,
// are taken for the former ones or their defaults; of functions it cannot tell
// more than whether they are the same code.
func (c *Client) Reconfigure(cfg ClientConfig) (restart []string, err error) {
	now := c.cfg.Load()
	if cfg.Identity == [16]byte{} {
		cfg.Identity = now.Identity
	}
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	restart = cfg.keep(now)
	if err := cfg.checkPool(); err != nil {
		return nil, err
	}
	if err := c.apply(&cfg); err != nil {
		return nil, err
	}
	return restart, nil
}

// ErrStopping: a client or server that ends takes no other configuration.
var ErrStopping = errors.New("tunnel: it is stopping, and takes no other configuration")

// keep restores what cannot change, and names it.
func (cfg *ClientConfig) keep(now *ClientConfig) (restart []string) {
	if cfg.Identity != now.Identity {
		restart = append(restart, "Identity")
	}
	if reflect.ValueOf(cfg.Dial).Pointer() != reflect.ValueOf(now.Dial).Pointer() {
		restart = append(restart, "Dial")
	}
	if !alike(cfg.Logger, now.Logger) {
		restart = append(restart, "Logger")
	}
	cfg.Identity, cfg.Dial, cfg.Logger = now.Identity, now.Dial, now.Logger
	return restart
}

// alike compares what may not be comparable, and is different then.
func alike(a, b any) bool {
	of := reflect.TypeOf(a)
	return of == reflect.TypeOf(b) && (of == nil || of.Comparable() && a == b)
}

// place is where the numbers of streams of one instance are known.
type place struct{ server, key string }

func (cfg *ClientConfig) place() place { return place{cfg.Server, cfg.Key.Text()} }

// sameSession reports whether a session of one configuration can serve the other.
func (cfg *ClientConfig) sameSession(other *ClientConfig) bool {
	return cfg == other || cfg.place() == other.place() &&
		cmp.Or(cfg.TLS, pool.TLSSelfSigned) == cmp.Or(other.TLS, pool.TLSSelfSigned) &&
		cfg.TLSConfig == other.TLSConfig && cfg.ServerName == other.ServerName && cfg.Name == other.Name &&
		cfg.PoolMin == other.PoolMin && cfg.PoolMax == other.PoolMax &&
		cfg.PoolMinInterval == other.PoolMinInterval && cfg.PoolMaxInterval == other.PoolMaxInterval &&
		cfg.MaxStreams == other.MaxStreams && cfg.Carriers == other.Carriers &&
		cfg.KeepAlive == other.KeepAlive && cfg.Heartbeat == other.Heartbeat &&
		(len(cfg.Services) == 0) == (len(other.Services) == 0) &&
		(len(cfg.Forwards) == 0) == (len(other.Forwards) == 0)
}

// apply puts a whole configuration in the place of the former one, if the addresses
// of its forwards can be opened.
func (c *Client) apply(cfg *ClientConfig) error {
	c.reconfiguring.Lock()
	defer c.reconfiguring.Unlock()
	c.mu.Lock()
	former := c.forwards
	c.mu.Unlock()
	forwards, opened, err := c.openForwards(cfg, former)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.stopping || c.streams.Err() != nil {
		c.mu.Unlock()
		closeAll(opened)
		return ErrStopping
	}
	c.setServicesLocked(cfg)
	gone := c.setForwardsLocked(cfg, forwards, opened)
	if before := c.cfg.Swap(cfg); !before.sameSession(cfg) {
		c.rouse() // what made the former attempts fail may be put right
	}
	if c.current != nil && !c.current.cfg.sameSession(cfg) {
		c.current.outdateLocked()
	}
	if c.abandon != nil {
		c.abandon(cfg)
	}
	c.announceLocked()
	current := c.current
	c.mu.Unlock()
	closeAll(gone)
	if current != nil {
		current.change()
	}
	return nil
}

// openForwards finds a forward for each of cfg: one of the former ones, or one with
// an address that it has opened.
func (c *Client) openForwards(cfg *ClientConfig, former []*forward) (all, opened []*forward, err error) {
	all = pair(former, cfg.Forwards, func(f *forward, to *Forward) bool {
		return f.at(to) && f.now.Load().Name == to.Name
	}, func(f *forward, to *Forward) bool {
		return f.at(to) && !strings.HasSuffix(to.Listen, ":0")
	})
	for i, f := range all {
		if f != nil {
			continue
		}
		if all[i], err = c.newForward(&cfg.Forwards[i], cfg.MaxStreams); err != nil {
			closeAll(opened)
			return nil, nil, err
		}
		opened = append(opened, all[i])
	}
	return all, opened, nil
}

func closeAll(forwards []*forward) {
	for _, f := range forwards {
		f.public.Close()
	}
}
