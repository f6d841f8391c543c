package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the package when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everyManner makes plans of each manner.
func everyManner(greets bool) (all []plan) {
	random := rand.New(rand.NewPCG(1, 2))
	for m := range manners {
		for n := range uint64(3) {
			r := request{number: uint64(m)<<8 | n, manner: m, up: 1 + random.Uint32N(100_000), down: 1 + random.Uint32N(100_000)}
			p := newPlan(r, greets, random)
			p.silence /= 10
			all = append(all, p)
		}
	}
	return all
}

// visits sends everybody to an address at once and waits for them.
func visits(b *books, addr string, all []plan) {
	var users sync.WaitGroup
	for _, p := range all {
		users.Go(func() {
			came := time.Now()
			b.outcome(p.request, came, p.visit(addr))
		})
	}
	users.Wait()
}

func startTarget(t *testing.T, b *books, greets bool) *target {
	t.Helper()
	target, err := newTarget(counting{b, greets}.serve)
	require.NoError(t, err)
	t.Cleanup(target.close)
	return target
}

// settle waits until the target has seen the end of all its users.
func (t *target) settle(test *testing.T) {
	test.Helper()
	require.Eventually(test, func() bool { return t.open() == 0 }, 20*time.Second, time.Millisecond)
}

// TestNothingIsWrong: without a tunnel in between, with either target.
func TestNothingIsWrong(t *testing.T) {
	for _, greets := range []bool{false, true} {
		b := newBooks()
		target := startTarget(t, b, greets)
		all := everyManner(greets)
		visits(b, target.addr(), all)
		target.settle(t)
		v := b.judge(new(weather))
		require.Empty(t, v.wrongs)
		require.Equal(t, len(all), v.total)
		for m := range manners {
			require.Equal(t, 3, v.served[m], "%v", m)
		}
		require.NotZero(t, v.bytes)
	}
}

// meddler passes connections on to a target, and does something to them.
func meddler(t *testing.T, to string, meddle func(user, target *net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var tasks sync.WaitGroup
	tasks.Go(func() { // ends with l
		for {
			u, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				defer u.Close()
				c, err := net.Dial("tcp", to)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				meddle(u.(*net.TCPConn), c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); tasks.Wait() })
	return l.Addr().String()
}

// TestMeddling: whatever is done to a request is found.
func TestMeddling(t *testing.T) {
	r := request{number: 7, manner: halfCloses, up: 50_000, down: 50_000}
	question := r.append(nil)
	question, err := io.ReadAll(io.MultiReader(strings.NewReader(string(question)), io.LimitReader(pattern(7, false), int64(r.up))))
	require.NoError(t, err)
	pass := func(to, from *net.TCPConn) { io.Copy(to, from); to.CloseWrite() }
	for _, tt := range []struct {
		name   string
		meddle func(user, target *net.TCPConn)
		found  string
	}{
		{"a changed byte on the way there", func(u, c *net.TCPConn) {
			b, _ := io.ReadAll(u)
			b[1000]++
			c.Write(b)
			c.CloseWrite()
			pass(u, c)
		}, "foreign bytes"},
		{"a changed byte on the way back", func(u, c *net.TCPConn) {
			pass(c, u)
			b, _ := io.ReadAll(c)
			b[1000]++
			u.Write(b)
		}, "foreign bytes"},
		{"a byte less there", func(u, c *net.TCPConn) {
			b, _ := io.ReadAll(u)
			c.Write(append(b[:1000], b[1001:]...))
			c.CloseWrite()
			pass(u, c)
		}, "foreign bytes"},
		{"an end too early there", func(u, c *net.TCPConn) {
			b, _ := io.ReadAll(u)
			c.Write(b[:1000])
			c.CloseWrite()
			pass(u, c)
		}, "ended in order at the target"},
		{"an end too early back", func(u, c *net.TCPConn) {
			pass(c, u)
			b, _ := io.ReadAll(c)
			u.Write(b[:1000])
		}, "ended in order and is not whole"},
		{"a byte more there", func(u, c *net.TCPConn) {
			b, _ := io.ReadAll(u)
			c.Write(append(b, 'x'))
			c.CloseWrite()
			pass(u, c)
		}, "more than was sent"},
		{"a byte more back", func(u, c *net.TCPConn) {
			pass(c, u)
			io.Copy(u, c)
			u.Write([]byte{'x'})
		}, "behind the answer"},
		{"twice", func(u, c *net.TCPConn) {
			second, err := net.Dial("tcp", c.RemoteAddr().String())
			if err == nil {
				second.Write(question)
				second.(*net.TCPConn).CloseWrite()
				io.CopyN(io.Discard, second, 1000)
				second.Close()
			}
			pass(c, u)
			pass(u, c)
		}, "reached the target 2 times"},
		{"a reset", func(u, c *net.TCPConn) {
			io.CopyN(c, u, 1000)
			u.SetLinger(0)
		}, "reset, and no fault explains it"},
		{"an answer without a question", func(u, c *net.TCPConn) {
			io.Copy(io.Discard, u)
			b, _ := io.ReadAll(io.LimitReader(pattern(7, true), int64(r.down)))
			sum := patternHash(7, false, r.up)
			u.Write(append(b, sum[:]...))
		}, "never reached the target"},
		{"another user's question", func(u, c *net.TCPConn) {
			io.Copy(io.Discard, u)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			pass(u, c)
		}, "a connection that begins with"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBooks()
			target := startTarget(t, b, false)
			visits(b, meddler(t, target.addr(), tt.meddle), []plan{{request: r, stop: int64(r.up)}})
			target.settle(t)
			v := b.judge(new(weather))
			require.NotEmpty(t, v.wrongs)
			require.Contains(t, strings.Join(v.wrongs, "\n"), tt.found)
		})
	}
}

// TestExcuses: a fault excuses what it may do, to those who were there.
func TestExcuses(t *testing.T) {
	w := new(weather)
	before := time.Now()
	s := w.begin("cut", reset)
	during := time.Now()
	w.over(s)
	s.begun, s.end = before.Add(time.Second), before.Add(2*time.Second)
	w.over(s)
	at := func(seconds float64) time.Time { return before.Add(time.Duration(seconds * float64(time.Second))) }
	require.WithinRange(t, during, before, at(1))
	for _, tt := range []struct {
		how      failure
		from, to float64
		excused  bool
	}{
		{reset, 0, 0.5, false}, {reset, 0, 1.5, true}, {reset, 1.2, 1.4, true}, {reset, 0, 9, true},
		{reset, 1.9, 3, true}, {reset, 2.1, 3, false}, {refused, 0, 9, false}, {short, 0, 9, false},
		{hung, 0, 9, false}, {truncated, 1.5, 1.5, false},
	} {
		name, ok := w.excuse(tt.how, at(tt.from), at(tt.to))
		require.Equal(t, tt.excused, ok, "%+v", tt)
		if ok {
			require.Equal(t, "cut", name)
		}
	}
	lasting := w.begin("server killed", refused)
	_, ok := w.excuse(refused, time.Now(), time.Now().Add(time.Hour))
	require.True(t, ok, "it is not over")
	w.over(lasting)
	_, ok = w.excuse(refused, time.Now().Add(time.Second), time.Now().Add(time.Hour))
	require.False(t, ok)
}

func TestClassify(t *testing.T) {
	for want, err := range map[failure]error{
		"": nil, foreign: errForeign, short: io.EOF, refused: &net.OpError{Err: syscall.ECONNREFUSED},
		reset: &net.OpError{Err: syscall.EPIPE}, hung: &net.OpError{Err: timeoutError{}}, other: errors.New("x"),
	} {
		require.Equal(t, want, classify(err))
	}
}

// timeoutError is a deadline's.
type timeoutError struct{}

func (timeoutError) Error() string        { return "i/o timeout" }
func (timeoutError) Is(target error) bool { return target.Error() == "i/o timeout" }

func TestGrowth(t *testing.T) {
	begun := time.Now()
	of := func(count int, rss func(i int) int64, files func(i int) int) (s series) {
		s.program = "it"
		for i := range count {
			s.samples = append(s.samples, sample{at: begun.Add(time.Duration(i) * time.Second), rss: rss(i), files: files(i), threads: 8})
		}
		return s
	}
	flat := func(int) int64 { return 20 << 20 }
	hundred := func(i int) int { return 100 + i%7 }
	_, _, grown := of(60, flat, hundred).growth()
	require.Empty(t, grown)
	_, _, grown = of(60, func(i int) int64 { return 20<<20 + int64(i)<<20 }, hundred).growth()
	require.Len(t, grown, 1)
	require.Contains(t, grown[0], "memory")
	_, _, grown = of(60, flat, func(i int) int { return 100 + 5*i }).growth()
	require.Len(t, grown, 1)
	require.Contains(t, grown[0], "descriptors")
	_, _, grown = of(60, func(i int) int64 { return 20<<20 + int64(i%30)<<20 }, hundred).growth()
	require.Empty(t, grown, "waves are no growth")
	_, _, grown = of(5, flat, hundred).growth()
	require.Contains(t, grown[0], "too few")
	late := of(60, flat, hundred).since(begun.Add(50 * time.Second))
	require.Len(t, late.samples, 10)
	require.EqualValues(t, 106, of(60, flat, hundred).peak().files)
}
