package tunnel

import (
	"sync/atomic"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/relay"
)

// ServiceStatus is one service or forward as either end sees it.
type ServiceStatus struct {
	Client string // name of the client that has it
	Name   string // name of the service; of a forward at the server its target, since the name is the client's own
	Target string // where it leads; of a service known to the client only
	Addr   string // where users come: the service's public address on the server, when up; the forward's at the client
	Group  string // whose clients share the service; empty: it is one client's
	UDP    bool   // it is one of UDP
	Up     bool
	Reason string // why it is not up, when known

	Traffic Traffic
}

// Traffic is what passes for the users of a service or forward. Counters begin
// when this side first has it, at the server whenever its port is opened.
type Traffic struct {
	Open      int    // users being served, at the server those being offered too
	Streams   uint64 // streams opened, those of users offered again included; where targets are dialed: taken
	Retries   uint64 // of those, the ones on a further connection, because one before was dead
	FromUsers int64  // bytes users sent, as they pass
	ToUsers   int64  // bytes users received, likewise

	// FirstByte is the time from when a user was let in to the first byte that
	// went back, where users come: services at the server, forwards at the client.
	// A wait for a place, see [ServerConfig.MaxStreams], lies before it.
	FirstByte pool.Histogram
}

// SessionStatus is a client that is connected, as the server sees it.
type SessionStatus struct {
	Client     string        // its name
	Addr       string        // where it comes from
	Key        string        // name of the key that it joined with, else the key's ID
	Since      time.Time     // it joined
	RoundTrip  time.Duration // median of the control connection's last few; 0 when not known
	Open       int           // users of its services being served or offered
	Carriers   int           // connections that carry many users
	Carried    uint64        // users that were offered on one, for want of an idle connection
	Pool       pool.Stats
	Forwarding pool.Stats // of the connections for forwards; zero without
}

// traffic counts for one service or forward.
type traffic struct {
	relay.Meter
	streams, retries atomic.Uint64
	firstByte        pool.Recorder
}

// now is what was counted where users come.
func (t *traffic) now() Traffic {
	return Traffic{
		Streams: t.streams.Load(), Retries: t.retries.Load(),
		FromUsers: t.Sent.Load(), ToUsers: t.Received.Load(), FirstByte: t.firstByte.Histogram(),
	}
}

// targetTraffic counts where targets are dialed.
type targetTraffic struct {
	relay.Meter
	streams atomic.Uint64
	open    atomic.Int64
}

// now is what was counted; what targets send is what users receive.
func (t *targetTraffic) now() Traffic {
	return Traffic{
		Open: int(max(t.open.Load(), 0)), Streams: t.streams.Load(), FromUsers: t.Received.Load(), ToUsers: t.Sent.Load(),
	}
}
