package tunnel

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// The flood as long and as dense as it is promised for, on a machine that does
// nothing else:
//
//	go test ./tunnel -run 'TestFlood$' -v -flood.time 10s -flood.rate 5000 -flood.nice
//
// The normal run is shorter and thinner, and holds what a loaded machine can
// keep.
var (
	floodTime = flag.Duration("flood.time", time.Second, "how long TestFlood lasts, or longer if the connections take longer")
	floodRate = flag.Int("flood.rate", 1500, "connections a second that TestFlood attempts")
	floodNice = flag.Bool("flood.nice", false, "strangers yield the processors to the tunnel, as if they had some of their own")
)

const (
	honestAddress = "127.0.0.1"
	floodAddress  = "127.0.0.2" // the strangers', where they have one of their own
	floodUsers    = 200         // honest users a second
)

// TestFlood: strangers come by the thousand with garbage, silence and wrong
// proofs. Nobody of them gets in, everybody honest is served, and afterwards
// nothing is left of it.
func TestFlood(t *testing.T) {
	for _, mode := range []pool.TLSMode{pool.TLSPlain, pool.TLSSelfSigned} {
		t.Run("mode "+string(mode), func(t *testing.T) { testFlood(t, mode) })
	}
}

func testFlood(t *testing.T, mode pool.TLSMode) {
	h := startServer(t, mode, quietLog)
	g := startClient(t, h, startTarget(t, echo))
	g.serveUsers(t, after(t, *floodTime/2)) // warm
	goroutines, memory := runtime.NumGoroutine(), heap()

	quiet := g.serveUsers(t, after(t, *floodTime/2))
	flood := h.flood(t, floodAddress, *floodTime, *floodRate)
	under := g.serveUsers(t, flood.over)
	said := flood.report(t)
	quiet = append(quiet, g.serveUsers(t, after(t, *floodTime/2))...)

	require.Zero(t, said.Admitted, "strangers got in")
	require.Zero(t, said.Told, "strangers were told what is not theirs")
	require.Positive(t, said.Connected)
	dialed := g.Stats().Pool
	require.LessOrEqual(t, h.Stats().Door.Accepted, dialed.Dialed+dialed.DialFailures+uint64(dialed.Dialing)+1+DefaultCarriers, "more came in than the client made")
	eventually(t, func() bool { return h.Stats().Door.InFlight == 0 }, func() string { return "strangers are still there" })
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+8 },
		func() string { return fmt.Sprintf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines) })
	grown := int64(heap()) - int64(memory)
	require.Less(t, grown, int64(10<<20), "memory is not back")

	t.Logf("attempted %d connections in %v, %.0f/s; connected %d, %.0f/s; refused: %v",
		said.Attempted, said.Took.Round(time.Millisecond), said.perSecond(said.Attempted), said.Connected, said.perSecond(said.Connected), h.Stats().Door.Rejected)
	t.Logf("first byte, %d users quiet: p50 %v, p99 %v; %d users under the flood: p50 %v, p99 %v",
		len(quiet), share(quiet, 50), share(quiet, 99), len(under), share(under, 50), share(under, 99))
	t.Logf("goroutines: %d more than before; heap: %+.1f MB", runtime.NumGoroutine()-goroutines, float64(grown)/(1<<20))
}

// TestFloodNextDoor: the flood comes from the address of an honest client that
// the server has never seen. It gets in, and is served like others from then on.
func TestFloodNextDoor(t *testing.T) {
	for mode, rate := range map[pool.TLSMode]int{
		pool.TLSPlain: *floodRate,
		// More wrong proofs than the door hears are a matter of luck for who
		// comes with them, and of how often it comes. The normal run holds
		// what is none.
		pool.TLSSelfSigned: min(*floodRate, 450),
	} {
		if *floodRate > 1500 {
			rate = *floodRate
		}
		t.Run("mode "+string(mode), func(t *testing.T) {
			h := startServer(t, mode, quietLog)
			target := startTarget(t, echo)
			flood := h.flood(t, honestAddress, *floodTime+patience, rate)
			eventually(t, func() bool {
				var rejected uint64
				for _, n := range h.Stats().Door.Rejected {
					rejected += n
				}
				return rejected > uint64(rate)/3
			}, func() string { return fmt.Sprintf("no flood: %v", h.Stats().Door) })
			begun := time.Now()
			g := runClient(t, h.clientConfig(target))
			ctx, cancel := context.WithTimeout(t.Context(), *floodTime+patience)
			defer cancel()
			require.NoError(t, g.Up(ctx), "%s", g.log.text())
			joined := time.Since(begun)
			_, err := firstByte(g.public(0), time.Now())
			require.NoError(t, err)
			served := time.Since(begun)
			g.serveUsers(t, after(t, *floodTime/2))
			flood.stop()
			t.Logf("%d/s from the client's address: it was in after %v, its first user served after %v; refused: %v",
				rate, joined.Round(time.Millisecond), served.Round(time.Millisecond), h.Stats().Door.Rejected)
		})
	}
}

// quietLog makes a server log nothing, so that memory is not the log's.
func quietLog(cfg *ServerConfig) { cfg.Logger = nil }

// heap returns the bytes in use once the garbage is gone.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one's finalizers freed
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// share returns the p-th percentile.
func share(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[min(len(all)*p/100, len(all)-1)].Round(time.Microsecond)
}

// serveUsers sends floodUsers users a second through an echo until it is told
// to end, and returns when each had its first byte.
func (g *guest) serveUsers(t *testing.T, end <-chan struct{}) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var users sync.WaitGroup
	next := time.NewTicker(time.Second / floodUsers)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-end:
			users.Wait()
			require.NotEmpty(t, all)
			return all
		}
		users.Go(func() {
			start := time.Now()
			took, err := firstByte(g.public(0), start)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("an honest user: %v", err)
			}
			all = append(all, took)
		})
	}
}

// after returns what is closed when d has passed.
func after(t *testing.T, d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx.Done()
}

func firstByte(addr string, start time.Time) (time.Duration, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(start.Add(patience))
	if _, err := c.Write([]byte("?")); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return time.Since(start), err
}

func canBind(address string) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// floodOrder is what the strangers' process is told.
type floodOrder struct {
	From   string // the strangers' address
	Server string
	Mode   pool.TLSMode
	Key    string        // only its ID is used, which is no secret
	Rate   int           // connections a second
	Time   time.Duration // of that many
}

// floodReport is what it did.
type floodReport struct {
	Attempted, Connected int64
	Admitted             int64 // passed the proof
	Told                 int64 // heard more than the door tells anybody
	Took                 time.Duration
}

func (r floodReport) perSecond(n int64) float64 { return float64(n) / r.Took.Seconds() }

// flood is strangers in a process of their own, so that the goroutines and
// the memory that a test sees are not theirs.
type flood struct {
	cmd  *exec.Cmd
	out  bytes.Buffer  // valid when over is closed
	err  error         // as well
	over chan struct{} // closed at its end
}

const floodVariable = "TUNNELPOOL_TEST_FLOOD"

func (h *host) flood(t *testing.T, from string, d time.Duration, rate int) *flood {
	t.Helper()
	if !canBind(from) {
		t.Skipf("this machine has no loopback address %s", from)
	}
	order, err := json.Marshal(floodOrder{From: from, Server: h.addr(), Mode: h.mode, Key: h.key.Text(), Rate: rate, Time: d})
	require.NoError(t, err)
	args := []string{os.Args[0], "-test.run=^TestFloodStrangers$"}
	if nice, err := exec.LookPath("nice"); *floodNice && err == nil {
		args = append([]string{nice, "-n", "19"}, args...)
	}
	f := &flood{cmd: exec.Command(args[0], args[1:]...), over: make(chan struct{})}
	f.cmd.Env = append(os.Environ(), floodVariable+"="+string(order))
	f.cmd.Stdout, f.cmd.Stderr = &f.out, &f.out
	require.NoError(t, f.cmd.Start())
	go func() { // ends with the process
		defer close(f.over)
		f.err = f.cmd.Wait()
	}()
	t.Cleanup(f.stop)
	return f
}

// stop ends it in the middle, unless it is over.
func (f *flood) stop() {
	f.cmd.Process.Kill()
	<-f.over
}

// report returns what it did once it is over.
func (f *flood) report(t *testing.T) (r floodReport) {
	t.Helper()
	<-f.over
	require.NoError(t, f.err, "%s", &f.out)
	for line := range strings.SplitSeq(f.out.String(), "\n") {
		if report, ok := strings.CutPrefix(line, floodVariable); ok {
			require.NoError(t, json.Unmarshal([]byte(report), &r))
			return r
		}
	}
	require.Fail(t, "the strangers do not report", f.out.String())
	return r
}

// TestFloodStrangers is the strangers' process and no test of its own.
func TestFloodStrangers(t *testing.T) {
	text := os.Getenv(floodVariable)
	if text == "" {
		t.Skip("only TestFlood starts this")
	}
	var order floodOrder
	require.NoError(t, json.Unmarshal([]byte(text), &order))
	report, err := json.Marshal(order.run(t))
	require.NoError(t, err)
	fmt.Printf("\n%s%s\n", floodVariable, report)
}

func (o floodOrder) run(t *testing.T) (r floodReport) {
	key, err := pool.ParseKey(o.Key)
	require.NoError(t, err)
	key = key.Session([]byte("a guess"))
	ctx, cancel := context.WithTimeout(t.Context(), o.Time+patience)
	defer cancel()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(o.From)}, Control: bindLate}
	var talkers, silent sync.WaitGroup
	places := make(chan struct{}, 4096) // bounds the descriptors
	begun := time.Now()
	for i := range int(o.Time.Seconds() * float64(o.Rate)) {
		due := begun.Add(time.Duration(i) * time.Second / time.Duration(o.Rate))
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			require.Fail(t, "no place for one more stranger")
		}
		r.Attempted++
		strangers := &talkers
		if i%3 == 1 {
			strangers = &silent
		}
		strangers.Go(func() {
			defer func() { <-places }()
			conn, err := dialer.DialContext(ctx, "tcp", o.Server)
			if err != nil {
				return
			}
			atomic.AddInt64(&r.Connected, 1)
			defer reset(conn.(*net.TCPConn))
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			switch i % 3 {
			case 0: // garbage
				conn.Write([]byte("GET / HTTP/1.1\r\nHost: public\r\nUser-Agent: scanner\r\n\r\n"))
			case 1: // silence
			case 2: // a wrong proof
				s := pool.Security{TLS: o.Mode, TLSConfig: &tls.Config{}, Key: key, Kind: wire.KindControl, Hello: wire.AppendJoin(nil, wire.Join{Name: "x"})}
				if _, err := s.Secure(ctx, conn); err == nil {
					atomic.AddInt64(&r.Admitted, 1)
				}
				return
			}
			if heard, _ := io.Copy(io.Discard, conn); heard > 32 { // a nonce, or an alert
				atomic.AddInt64(&r.Told, 1)
			}
		})
	}
	talkers.Wait()
	r.Took = time.Since(begun)
	cancel() // the silent ones would wait for their deadline
	silent.Wait()
	return r
}
