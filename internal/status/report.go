// Package status is what a running program tells of itself: a report, which the
// admin address and the status command show, and the history of the last minutes.
package status

import "time"

// The programs, as reports and their sockets name them.
const (
	ServerProgram = "tunnel-server"
	ClientProgram = "tunnel-client"
)

// Report is the state of a program, and the JSON of /api/v1/status. Times are RFC
// 3339, durations seconds, sizes bytes. What is not known is absent; lists never
// are.
type Report struct {
	Program string    `json:"program"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Now     time.Time `json:"now"`
	Uptime  float64   `json:"uptime_seconds"`
	Ready   bool      `json:"ready"`
	Reason  string    `json:"reason"` // why it is not ready

	Name   string `json:"name,omitempty"`   // the client's own
	Listen string `json:"listen,omitempty"` // the server's own address
	Server string `json:"server,omitempty"` // whom the client connects to
	TLS    string `json:"tls"`

	Pool     Pool      `json:"pool"`
	Users    Users     `json:"users"`
	Door     *Door     `json:"door,omitempty"` // the server's
	Sessions []Session `json:"sessions"`
	Services []Service `json:"services"`
	Forwards []Service `json:"forwards"`
	Events   []Event   `json:"events"` // newest last
}

// Pool is a pool of connections, or several together.
type Pool struct {
	Idle         int               `json:"idle"`
	Out          int               `json:"out"`
	Waiting      int               `json:"waiting"`
	Capacity     int               `json:"capacity"`
	Interval     float64           `json:"interval_seconds,omitempty"` // the client's
	Hits         uint64            `json:"hits"`
	Misses       uint64            `json:"misses"`
	Timeouts     uint64            `json:"timeouts"`
	Created      uint64            `json:"created"`
	Dialing      int               `json:"dialing"`
	DialFailures uint64            `json:"dial_failures"`
	Closed       map[string]uint64 `json:"closed"`
	Rejected     map[string]uint64 `json:"rejected"`
}

// Users are those of all services and forwards together.
type Users struct {
	Open     int    `json:"open"`
	Waiting  int    `json:"waiting"`
	Streams  uint64 `json:"streams"`
	Carried  uint64 `json:"carried"`
	Timeouts uint64 `json:"timeouts"`
	Overflow uint64 `json:"overflow"`
	Replays  uint64 `json:"replays"`
	NoAck    uint64 `json:"no_ack"`
}

// Door is the server's front door, before a connection has proven its key.
type Door struct {
	InFlight int               `json:"in_flight"`
	Rejected map[string]uint64 `json:"rejected"`
}

// Session is a client that is connected; at the client the session with the
// server, whose address it has then.
type Session struct {
	Client      string    `json:"client"`
	Address     string    `json:"address"`
	Key         string    `json:"key,omitempty"` // its name; known to the server
	Since       time.Time `json:"since"`
	RoundTrip   float64   `json:"round_trip_seconds,omitempty"`
	Open        int       `json:"open"`
	Carriers    int       `json:"carriers"`
	Pool        Pool      `json:"pool"`
	ForwardPool *Pool     `json:"forward_pool,omitempty"` // of the connections for forwards
}

// Service is a service or a forward.
type Service struct {
	Client    string   `json:"client"`
	Name      string   `json:"name"`
	Network   string   `json:"network"`
	Address   string   `json:"address,omitempty"` // where users come
	Target    string   `json:"target,omitempty"`
	Group     string   `json:"group,omitempty"`
	Up        bool     `json:"up"`
	Reason    string   `json:"reason"`
	Open      int      `json:"open"`
	Streams   uint64   `json:"streams"`
	Retries   uint64   `json:"retries"`
	FromUsers int64    `json:"bytes_from_users"`
	ToUsers   int64    `json:"bytes_to_users"`
	FirstByte *Latency `json:"first_byte,omitempty"` // where users come: services at the server, forwards at the client
}

// Latency is a histogram in short. The quantiles are estimates: within a bucket
// durations count as evenly spread.
type Latency struct {
	Count uint64   `json:"count"`
	P50   *float64 `json:"p50_seconds,omitempty"`
	P99   *float64 `json:"p99_seconds,omitempty"`
}

// Event is one thing that happened.
type Event struct {
	Time  time.Time      `json:"time"`
	Level string         `json:"level"`
	Event string         `json:"event"`
	Text  string         `json:"text"`
	Attrs map[string]any `json:"attrs"`
}
