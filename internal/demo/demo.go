// Package demo shows the tunnel on one machine: a real server, a real client
// and a web page as target in one process over loopback, with a throwaway key
// and free ports.
package demo

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/faults"
	"github.com/tunnelpool/pool/tunnel"
)

// Options of a demo.
type Options struct {
	RTT    time.Duration // simulated round trip between the two ends; 0: loopback's own
	Once   bool          // end after the proof
	Logger pool.Logger   // what both ends log
}

//go:embed page.html
var page string

// proofMark is what the proof looks for in the page.
const proofMark = "served through tunnelpool"

const startLimit = 20 * time.Second

// Run shows the demo until ctx ends, or until the proof with Once. The error
// says which part of the proof did not hold.
func Run(ctx context.Context, out io.Writer, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	d := &stage{key: pool.NewKey(), log: o.Logger}
	defer d.wait.Wait()
	defer cancel()
	defer d.stopClients() // before the server, which they would miss
	if err := d.build(ctx, o.RTT); err != nil {
		return err
	}
	starting, done := context.WithTimeout(ctx, startLimit)
	defer done()
	url, err := d.start(starting)
	if err != nil {
		return o.failure(ctx, err)
	}
	fmt.Fprint(out, "A tunnel-server and a tunnel-client run in this process, over loopback, in TLS\nmode 1, with a throwaway key.")
	if o.RTT > 0 {
		fmt.Fprintf(out, " Between them lies a SIMULATED round trip of %v.", o.RTT)
	}
	fmt.Fprintf(out, "\n\n  your browser  ->  %s  =tunnel=>  http://%s (a web page)\n\n", url, d.target)
	if err := d.prove(starting, out); err != nil {
		return o.failure(ctx, fmt.Errorf("the proof did not hold: %w", err))
	}
	if o.Once {
		return nil
	}
	fmt.Fprintf(out, "Open %s. Ctrl-C ends the demo.\n", url)
	<-ctx.Done()
	return nil
}

// failure is err, or nothing when the person who ended the demo did not ask
// for the proof alone.
func (o Options) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil && !o.Once {
		return nil
	}
	return err
}

// stage holds the demo's parts.
type stage struct {
	key    pool.Key
	log    pool.Logger
	target string
	server *tunnel.Server
	warm   *tunnel.Client // default pool: finds connections ready
	cold   *tunnel.Client // pool of one, and no carrier: a second user has to wait for a dial
	stop   []func()       // end the clients
	joined sync.WaitGroup // the clients
	wait   sync.WaitGroup // everything else, which ctx ends
}

// build starts the web page, the server, the link and both clients.
func (d *stage) build(ctx context.Context, rtt time.Duration) error {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.target = web.Addr().String()
	d.wait.Go(func() { serveWeb(ctx, web) })
	d.server, err = tunnel.NewServer(tunnel.ServerConfig{
		Listen: "127.0.0.1:0", Bind: "127.0.0.1", Keys: []pool.Key{d.key}, Drain: -1, Logger: d.log,
	})
	if err != nil {
		return err
	}
	d.wait.Go(func() { d.server.Run(ctx) })
	address := d.server.Addr().String()
	dial := new(net.Dialer).DialContext
	if rtt > 0 {
		link, err := faults.NewLink(address, rtt/2)
		if err != nil {
			return err
		}
		d.wait.Go(func() { <-ctx.Done(); link.Close() })
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return link.Dial(ctx) }
	}
	if d.warm, err = d.client(ctx, "warm", address, 0, 0, dial); err != nil {
		return err
	}
	d.cold, err = d.client(ctx, "cold", address, 1, -1, dial)
	return err
}

func (d *stage) client(ctx context.Context, name, server string, poolMax, carriers int, dial func(context.Context, string, string) (net.Conn, error)) (*tunnel.Client, error) {
	c, err := tunnel.NewClient(tunnel.ClientConfig{
		Server: server, Key: d.key, Name: name, PoolMax: poolMax, Carriers: carriers, Drain: -1, Dial: dial, Logger: d.log,
		Services: []tunnel.Service{{Name: "page", Target: d.target}},
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	d.stop = append(d.stop, stop)
	d.joined.Go(func() { c.Run(ctx) })
	return c, nil
}

func (d *stage) stopClients() {
	for _, stop := range d.stop {
		stop()
	}
	d.joined.Wait()
}

// start waits until both services are up and both pools warm.
func (d *stage) start(ctx context.Context) (url string, err error) {
	for _, c := range []*tunnel.Client{d.warm, d.cold} {
		if err := c.Up(ctx); err != nil {
			return "", err
		}
		if err := awaitWarm(ctx, c); err != nil {
			return "", err
		}
	}
	return "http://" + d.warm.Services()[0].Addr, nil
}

// awaitWarm waits until the pool holds what it aims at.
func awaitWarm(ctx context.Context, c *tunnel.Client) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if p := c.Stats().Pool; p.Capacity > 0 && p.Idle >= p.Capacity {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the pool did not warm up in time")
		}
	}
}

// prove fetches the page through the tunnel and compares first bytes: of a
// user who finds a connection ready, and of one who has to wait for a dial.
func (d *stage) prove(ctx context.Context, out io.Writer) error {
	warm, err := d.fetchWarm(ctx)
	if err != nil {
		return err
	}
	cold, err := d.fetchCold(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  The page came through the tunnel.\n")
	fmt.Fprintf(out, "    first byte, warm  %9s   a connection was ready\n", millis(warm))
	fmt.Fprintf(out, "    first byte, cold  %9s   without a connection ready: dial, TLS and proof came first\n\n", millis(cold))
	return nil
}

// fetchWarm has users come one after the other, and tells the median.
func (d *stage) fetchWarm(ctx context.Context) (time.Duration, error) {
	var took [5]time.Duration
	for i := range took {
		var err error
		if took[i], err = fetch(ctx, d.warm.Services()[0].Addr); err != nil {
			return 0, err
		}
	}
	slices.Sort(took[:])
	return took[len(took)/2], nil
}

// fetchCold has two users come at once to a pool of one connection, and tells
// how long the one who had to wait took.
func (d *stage) fetchCold(ctx context.Context) (time.Duration, error) {
	var took [2]time.Duration
	var errs [2]error
	var users sync.WaitGroup
	for i := range took {
		users.Go(func() { took[i], errs[i] = fetch(ctx, d.cold.Services()[0].Addr) })
	}
	users.Wait()
	return max(took[0], took[1]), errors.Join(errs[:]...)
}

// fetch gets the page as a new user and returns the time from connect to the
// answer's first byte.
func fetch(ctx context.Context, address string) (time.Duration, error) {
	begun := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", address); err != nil {
		return 0, err
	}
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return 0, fmt.Errorf("no answer through the tunnel: %w", err)
	}
	took := time.Since(begun)
	rest, err := io.ReadAll(conn)
	if err != nil {
		return 0, err
	}
	if !strings.Contains(string(rest), proofMark) {
		return 0, errors.New("what came through the tunnel is not the page")
	}
	return took, nil
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// serveWeb serves the page until ctx ends.
func serveWeb(ctx context.Context, l net.Listener) {
	s := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, page)
		}),
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	s.Serve(l)
}
