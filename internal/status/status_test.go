package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/tunnel"
)

// scripted is a Source whose reports the test writes.
type scripted struct {
	mu     sync.Mutex
	report Report
	first  pool.Recorder
}

func (s *scripted) Ready() error              { return nil }
func (s *scripted) FirstByte() pool.Histogram { return s.first.Histogram() }
func (s *scripted) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Now, r.Services = time.Now(), slices.Clone(r.Services)
	return r
}

func (s *scripted) change(f func(*Report)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.report)
}

// TestHistory: a sample a second has what happened in that second, and the last
// five minutes are kept.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &scripted{}
		web := Service{Client: "pi", Name: "web", FromUsers: 1000, ToUsers: 2000, Open: 1}
		twin := Service{Client: "pi", Name: "web", FromUsers: 5}
		src.report.Services = []Service{web, twin}
		s := NewSampler(src)
		require.Empty(t, s.History(time.Time{}).Samples)
		require.NotNil(t, s.History(time.Time{}).Samples)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go s.Run(ctx)
		synctest.Wait()
		src.change(func(r *Report) {
			r.Services[0].FromUsers += 10
			r.Services[0].ToUsers += 20
			r.Services[1].ToUsers++
		})
		src.first.Observe(40 * time.Millisecond)
		time.Sleep(time.Second)
		synctest.Wait()
		all := s.History(time.Time{}).Samples
		require.Len(t, all, 1)
		require.Equal(t, ServiceBytes{10, 21, 1}, all[0].Services["pi/web"])
		require.InDelta(t, 0.04, *all[0].FirstByteP50, 0.011)

		src.change(func(r *Report) { // it was opened anew
			r.Services = r.Services[:1]
			r.Services[0].FromUsers, r.Services[0].ToUsers = 7, 0
		})
		time.Sleep(time.Second)
		synctest.Wait()
		all = s.History(time.Time{}).Samples
		require.Equal(t, ServiceBytes{7, 0, 1}, all[1].Services["pi/web"])
		require.Nil(t, all[1].FirstByteP50, "nobody got one in that second")

		time.Sleep(10 * time.Minute)
		synctest.Wait()
		all = s.History(time.Time{}).Samples
		require.Len(t, all, 300)
		require.Equal(t, 299*time.Second, all[299].Time.Sub(all[0].Time))
		require.Equal(t, all[297:], s.History(all[296].Time).Samples, "what is newer than one that is known")
		require.NotNil(t, s.History(all[299].Time).Samples)
		require.Empty(t, s.History(all[299].Time).Samples)
		stop()
	})
}

// TestHistoryIsBounded: of many services the busiest are in a sample.
func TestHistoryIsBounded(t *testing.T) {
	src := &scripted{}
	for i := range 1000 {
		src.report.Services = append(src.report.Services, Service{Client: "pi", Name: fmt.Sprint(i)})
	}
	s := NewSampler(src)
	src.report.Services[777].ToUsers = 1
	one := s.sample()
	require.Len(t, one.Services, maxSampled)
	require.Contains(t, one.Services, "pi/777")
}

// TestEventValues: whatever an attribute holds is JSON.
func TestEventValues(t *testing.T) {
	e := eventOf(pool.Event{Level: slog.LevelWarn, Name: "odd", Text: "it\x1b[2J \xff", Attrs: []slog.Attr{
		slog.Duration("took_seconds", 1500*time.Millisecond), slog.Float64("none", math.NaN()), slog.Any("addr", net.IPv4(1, 2, 3, 4)),
		slog.Bool("yes", true), slog.Int("n", -1), slog.Any("channel", make(chan int)), slog.String("name", "<script>"),
	}})
	data, err := json.Marshal(e)
	require.NoError(t, err)
	require.NotContains(t, string(data), "\x1b")
	require.NotContains(t, string(data), "<script>")
	var back Event
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, "warn", back.Level)
	require.EqualValues(t, 1.5, back.Attrs["took_seconds"])
	require.Equal(t, "1.2.3.4", back.Attrs["addr"])
	require.Equal(t, "<script>", back.Attrs["name"])
}

// TestReports is of a tunnel at work: both ends tell what docs/MONITORING.md says,
// lists are never null, and no secret is in it.
func TestReports(t *testing.T) {
	key := pool.NewKey()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { // ends with echo
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }() // ends with c
		}
	}()
	defer echo.Close()
	server, err := tunnel.NewServer(tunnel.ServerConfig{Listen: "127.0.0.1:0", Bind: "127.0.0.1", Keys: []pool.Key{key}, AllowForward: echo.Addr().String()})
	require.NoError(t, err)
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Server: server.Addr().String(), Key: key, Name: "pi\"<b>\u202e",
		Services: []tunnel.Service{{Name: "web", Target: echo.Addr().String()}},
		Forwards: []tunnel.Forward{{Name: "db", Listen: "127.0.0.1:0", Target: echo.Addr().String()}},
	})
	require.NoError(t, err)
	done := make(chan struct{}, 2)
	go func() { server.Run(t.Context()); done <- struct{}{} }()
	go func() { client.Run(t.Context()); done <- struct{}{} }()
	defer func() { client.Close(); server.Close(); <-done; <-done }()
	require.NoError(t, client.Up(t.Context()))
	for _, addr := range []string{client.Services()[0].Addr, client.Forwards()[0].Addr} {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, "hello")
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 5))
		require.NoError(t, err)
	}
	events := func() []pool.Event { return make([]pool.Event, 150) }
	at := &Server{About{"v1", time.Now().Add(-time.Minute), "1", events}, server}
	from := &Client{NewAbout("v1", "1", nil), client}
	require.NoError(t, at.Ready())
	require.Eventually(t, func() bool { // it is counted once the user has it
		return at.Report().Services[0].FirstByte.Count == 1 && from.Report().Forwards[0].FirstByte.Count == 1
	}, 10*time.Second, time.Millisecond)

	r := at.Report()
	require.True(t, r.Ready)
	require.Equal(t, server.Addr().String(), r.Listen)
	require.Greater(t, r.Uptime, 59.0)
	require.Len(t, r.Events, maxEvents)
	require.Len(t, r.Sessions, 1)
	require.NotNil(t, r.Sessions[0].ForwardPool)
	require.Len(t, r.Services, 1)
	require.EqualValues(t, 5, r.Services[0].FromUsers)
	require.EqualValues(t, 1, r.Services[0].FirstByte.Count)
	require.Positive(t, *r.Services[0].FirstByte.P50)
	require.Len(t, r.Forwards, 1)
	require.Nil(t, r.Forwards[0].FirstByte)
	require.Equal(t, r.Sessions[0].Pool.Idle, r.Pool.Idle)

	mine := from.Report()
	require.True(t, mine.Ready)
	require.Equal(t, server.Addr().String(), mine.Server)
	require.Equal(t, r.Sessions[0].Client, mine.Name)
	require.Nil(t, mine.Services[0].FirstByte)
	require.EqualValues(t, 1, mine.Forwards[0].FirstByte.Count)
	require.EqualValues(t, 5, mine.Forwards[0].FromUsers)
	require.EqualValues(t, 1, from.FirstByte().Count())

	for _, one := range []Report{r, mine} {
		data, err := json.Marshal(one)
		require.NoError(t, err)
		require.NotContains(t, string(data), "null")
		require.NotContains(t, string(data), key.Text())
		require.NotContains(t, strings.ToLower(string(data)), "secret")
	}
}
