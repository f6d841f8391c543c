package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"
)

// Kind is what users do.
type Kind string

// The kinds of load. An operation is: connect, one byte there, one byte back,
// close.
const (
	Operations Kind = "operations" // Users operations by Workers at once
	Burst      Kind = "burst"      // Users operations, all at once
	Rate       Kind = "rate"       // operations by Workers for Duration
	Download   Kind = "download"   // Workers streams from the target for Duration
	Upload     Kind = "upload"     // Workers streams to the target for Duration
	Echo       Kind = "echo"       // one byte there and back on one open connection, for Duration
	Hold       Kind = "hold"       // Users connections that were served and stay open
)

// Load is a piece of work for users.
type Load struct {
	Kind     Kind
	Address  string // where the users connect
	Users    int
	Workers  int
	Warmup   time.Duration // of the same work in front, not counted
	Duration time.Duration
}

// Outcome is what the users met.
type Outcome struct {
	Served    int             // operations, or round trips
	Failed    int             // users refused, reset, or not served within Patience
	Failure   string          // the first of them
	Bytes     int64           // moved
	Elapsed   time.Duration   // of the counted part; in a burst until the last was served
	Latencies []time.Duration // connect to first byte; none in Rate, Download and Upload
}

// Patience is how long a user waits for its byte.
const Patience = 15 * time.Second

// A Report is a line of a load's process: it tells that the counted part
// begins, and then what came of it.
type Report struct {
	Warm    bool     `json:",omitempty"`
	Outcome *Outcome `json:",omitempty"`
}

// Run does the work and writes reports, a line each. A Hold goes on until in
// ends.
func Run(l Load, in io.Reader, out io.Writer) error {
	lines := json.NewEncoder(out)
	warm := func() { _ = lines.Encode(Report{Warm: true}) } // who reads no more has given up
	o := new(Outcome)
	switch l.Kind {
	case Operations:
		*o = operations(l, warm)
	case Burst:
		*o = burst(l, warm)
	case Rate:
		*o = sustained(l, warm)
	case Download, Upload:
		*o = bulk(l, warm)
	case Echo:
		*o = echoes(l, warm)
	case Hold:
		var held []net.Conn
		*o, held = hold(l, warm)
		defer func() {
			for _, c := range held {
				c.Close()
			}
		}()
	default:
		return fmt.Errorf("load of kind %q is unknown", l.Kind)
	}
	if err := lines.Encode(Report{Outcome: o}); err != nil {
		return err
	}
	if l.Kind == Hold {
		_, _ = io.Copy(io.Discard, in) // until told to let go
	}
	return nil
}

// open connects and has the first byte answered.
func open(address string, want byte) (net.Conn, error) {
	deadline := time.Now().Add(Patience)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(deadline)
	if err := ask(c, want); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// ask sends a byte and waits for the same.
func ask(c net.Conn, want byte) error {
	b := [1]byte{want}
	if _, err := c.Write(b[:]); err != nil {
		return err
	}
	b[0] = 0
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	if b[0] != want {
		return fmt.Errorf("sent byte %d, got %d back", want, b[0])
	}
	return nil
}

// operation is one user from connect to close. The time ends with the byte.
func operation(address string) (time.Duration, error) {
	begun := time.Now()
	c, err := open(address, wantEcho)
	took := time.Since(begun)
	if err == nil {
		c.Close()
	}
	return took, err
}
