//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// TestDescriptorTableFull: more users come than a program has file descriptors
// for. It neither dies nor spins, its session and those who are in do not
// notice, and when they have left it serves others as if nothing had been.
func TestDescriptorTableFull(t *testing.T) {
	t.Parallel()
	const files, users = 128, 300 // a user needs two on either side, or one on a carrier
	for name, tt := range map[string]struct{ onServer, onClient []string }{
		"server, its users bounded": {onServer: []string{}},
		"server":                    {onServer: []string{"--max-streams", "1000"}},
		"client, its users bounded": {onClient: []string{}},
		"client":                    {onClient: []string{"--max-streams", "1000"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits most of the time
			key := pool.NewKey().Text()
			serverHost, clientHost := newHost(t, key), newHost(t, key)
			if tt.onServer != nil {
				serverHost.files = files
			} else {
				clientHost.files = files
			}
			server := serverHost.start("tunnel-server", append(tt.onServer, "--listen", "127.0.0.1:0", "--bind", "127.0.0.1", "--heartbeat", "500ms")...)
			address := server.line(listening)[1]
			client := clientHost.start("tunnel-client", append(tt.onClient, "--server", address, "-R", "0:"+parrot(t), "--pool-min", "8", "--heartbeat", "500ms")...)
			public := client.line(`is up: (\S+) leads to`)[1]
			limited, bounded := server, len(tt.onServer)+len(tt.onClient) == 0
			if tt.onServer == nil {
				limited = client
			}

			first := newTalker(public)
			require.NoError(t, first.wait())
			crowd := make([]*talker, users)
			for i := range crowd {
				crowd[i] = newTalker(public)
			}
			defer func() {
				for _, u := range append(crowd, first) {
					u.leave()
				}
			}()
			served := settled(t, crowd)
			require.Less(t, served, files, "the table is not full: the test shows nothing")

			// A few heartbeats later.
			cpu, begun := cpuTime(t, limited), time.Now()
			time.Sleep(3 * time.Second)
			cpu, held := cpuTime(t, limited)-cpu, time.Since(begun)
			inUse := descriptors(t, limited)
			t.Logf("%d of %d users served; %d descriptors in use; %v of processor time in %v while full",
				served, users, inUse, cpu, held.Round(time.Millisecond))
			if bounded && limited == client {
				crowd = append(crowd, newTalker(public))
				client.line(`Users wait at the server: \d+ are being served`)
			}
			if bounded {
				require.LessOrEqual(t, inUse, files*3/4+files/8, "users took what is kept")
			}
			require.Less(t, cpu, held/5, "it spins")
			require.NoError(t, first.say("still here?"), "one who is in does not notice")
			require.Equal(t, 1, server.count(" joined "), "the session was lost")

			for _, u := range crowd {
				u.leave()
			}
			left := time.Now()
			newcomer := newTalker(public)
			for newcomer.wait() != nil && time.Since(left) < patience { // a client may not have noticed yet that they left
				newcomer = newTalker(public)
			}
			defer newcomer.leave()
			require.NoError(t, newcomer.wait())
			t.Logf("the next user was served %v after they left", time.Since(left).Round(time.Millisecond))
			require.NoError(t, first.say("and now?"))
			require.Equal(t, 1, server.count(" joined "), "the session was lost")
			full := limited.count("too many open files")
			t.Logf("%d lines tell of it", full)
			require.LessOrEqual(t, full, 10, "the log is flooded")
			if bounded {
				require.Zero(t, full, "users took what is kept")
			}
			if limited.count("new users wait") > 0 {
				limited.line(`new users are let in again`)
			}
			other := newHost(t, key).start("tunnel-client", "--server", address, "-R", "0:"+parrot(t))
			other.line(`is up: (\S+) leads to`)
			first.leave()
			newcomer.leave()
			for _, p := range []*process{other, client, server} {
				p.stop()
			}
		})
	}
}

// talker is a user who may have to wait.
type talker struct {
	greeted chan struct{} // closed when the target has spoken, or never will
	err     error         // valid then

	mu   sync.Mutex // guards conn
	conn net.Conn
	gone bool
}

const greeting = "hello"

func newTalker(address string) *talker {
	u := &talker{greeted: make(chan struct{})}
	go func() { // ends with the connection
		defer close(u.greeted)
		c, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			u.err = err
			return
		}
		u.mu.Lock()
		u.conn = c
		gone := u.gone
		u.mu.Unlock()
		if gone {
			c.Close()
		}
		c.SetReadDeadline(time.Now().Add(2 * patience))
		_, u.err = io.ReadFull(c, make([]byte, len(greeting)))
	}()
	return u
}

// wait waits until the user is served.
func (u *talker) wait() error {
	select {
	case <-u.greeted:
		return u.err
	case <-time.After(patience):
		return os.ErrDeadlineExceeded
	}
}

// say sends a text through and back.
func (u *talker) say(text string) error {
	u.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(u.conn, text); err != nil {
		return err
	}
	answer := make([]byte, len(text))
	if _, err := io.ReadFull(u.conn, answer); err != nil {
		return err
	}
	if string(answer) != text {
		return fmt.Errorf("%q came back as %q", text, answer)
	}
	return nil
}

func (u *talker) leave() {
	u.mu.Lock()
	u.gone = true
	if u.conn != nil {
		u.conn.Close()
	}
	u.mu.Unlock()
	<-u.greeted
}

// settled waits until nobody more is served, and returns how many are.
func settled(t *testing.T, crowd []*talker) int {
	t.Helper()
	count := func() (n int) {
		for _, u := range crowd {
			select {
			case <-u.greeted:
				if u.err == nil {
					n++
				}
			default:
			}
		}
		return n
	}
	last, since := 0, time.Now()
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if n := count(); n != last {
			last, since = n, time.Now()
		}
		if last > 0 && time.Since(since) > 2*time.Second {
			return last
		}
	}
	require.Fail(t, "users keep coming in, or none does", "%d are in", last)
	return 0
}

// parrot is a target that greets and then says what it hears.
func parrot(t *testing.T) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() { // ends when the listener closes
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { // ends with its user, or its client
				defer c.Close()
				io.WriteString(c, greeting)
				io.Copy(c, c)
			})
		}
	})
	return l.Addr().String()
}

// cpuTime is what a program has used of the processors.
func cpuTime(t *testing.T, p *process) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	require.NoError(t, err)
	// The name, in parentheses, may have spaces: fields count from behind it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] { // user and system time
		n, err := strconv.Atoi(field)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 on every Linux
}

// descriptors counts a program's open files.
func descriptors(t *testing.T, p *process) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	require.NoError(t, err)
	return len(open)
}
