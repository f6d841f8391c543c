package statuscmd

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/status"
)

var now = time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)

func report() status.Report {
	half := 0.0421
	return status.Report{
		Program: "tunnel-server", Version: "v1.2.3", Now: now, Uptime: 3725, Ready: true, Listen: "[::]:10101", TLS: "1",
		Pool:  status.Pool{Idle: 32, Out: 1, Capacity: 1024, Hits: 10, Misses: 2, Closed: map[string]uint64{"dead": 3, "full": 9, "holder": 0}},
		Users: status.Users{Open: 1, Streams: 10, Carried: 2},
		Door:  &status.Door{Rejected: map[string]uint64{"proof": 3}},
		Sessions: []status.Session{{
			Client: "pi", Address: "203.0.113.7:5555", Key: "default", Since: now.Add(-90 * time.Second), RoundTrip: 0.041,
			Open: 1, Carriers: 2, Pool: status.Pool{Idle: 32},
		}},
		Services: []status.Service{
			{Client: "pi", Name: "web", Network: "tcp", Address: "[::]:8080", Up: true, Open: 1, FromUsers: 999, ToUsers: 123456789, FirstByte: &status.Latency{Count: 10, P50: &half}},
			{Client: "pi", Name: "dns", Network: "udp", Address: "[::]:5353", Reason: "the client is away; its users are held", FirstByte: &status.Latency{}},
		},
		Events: []status.Event{{Time: now, Level: "warn", Event: "x", Text: "something happened"}},
	}
}

func TestView(t *testing.T) {
	want := strings.TrimLeft(`
tunnel-server up 1h2m, ready
v1.2.3
listens on [::]:10101, TLS mode 1
Pool  32 idle of 1024, 1 in use, 0 waiting; 10 hits, 2 misses, 0 timeouts
      closed: full 9, dead 3
Users 1 open, 0 waiting; 10 streams, 2 carried
Door  refused: proof 3
Down  1 of 2 services and forwards

Sessions 1
CLIENT  ADDRESS           KEY      SINCE    RTT  USERS  IDLE  CARRIERS
pi      203.0.113.7:5555  default  1m30s  41 ms      1    32         2

Services 2
CLIENT  NAME  STATE  ADDRESS        USERS   FROM      TO  1ST BYTE
pi      web   up     [::]:8080          1  999 B  123 MB     42 ms
pi      dns   down   udp [::]:5353      0    0 B     0 B
dns: the client is away; its users are held

Events
HH:MM:SS warn  something happened
`, "\n")
	got := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d`).ReplaceAllString(view{report: report()}.String(), "HH:MM:SS")
	require.Equal(t, want, got)
}

// TestColours are there only where they are wanted, and change nothing else.
func TestColours(t *testing.T) {
	plain, painted := view{report: report()}.String(), view{report: report(), color: true}.String()
	require.NotContains(t, plain, "\x1b")
	require.Contains(t, painted, string(good)+"ready"+reset)
	require.Contains(t, painted, string(bad)+"down"+reset)
	require.Equal(t, plain, regexp.MustCompile(`\x1b\[\d*m`).ReplaceAllString(painted, ""))
}

// TestWidth: no line is wider than the terminal, however long names are and how
// narrow it is; wide characters count twice.
func TestWidth(t *testing.T) {
	r := report()
	r.Sessions[0].Client = strings.Repeat("例", 30)
	r.Services[0].Name = strings.Repeat("a-long-name-", 10)
	r.Services[1].Reason = strings.Repeat("because ", 40)
	r.Events[0].Text = strings.Repeat("event ", 100)
	for width := 1; width < 140; width++ {
		for _, line := range strings.Split(view{report: r, width: width}.String(), "\n") {
			require.LessOrEqual(t, runewidth.StringWidth(line), width, "%q", line)
		}
	}
	for _, line := range strings.Split(view{report: r, width: 80}.String(), "\n") {
		if strings.HasPrefix(line, "pi") || strings.HasPrefix(line, "例") {
			require.Regexp(t, `\d( [a-zA-Z]+)?$`, line, "numbers stay whole, names give way")
		}
	}
}

// TestNamesOfStrangers: nothing that a peer chose moves the cursor, turns the text
// around or makes a line of its own.
func TestNamesOfStrangers(t *testing.T) {
	evil := "x\x1b[2J\x1b]0;title\a\r\n\u202e\u200b\x00\xff\u009b1m"
	r := report()
	r.Sessions[0].Client, r.Sessions[0].Address, r.Sessions[0].Key = evil, evil, evil
	r.Services[1].Name, r.Services[1].Client, r.Services[1].Address, r.Services[1].Reason, r.Services[1].Target = evil, evil, evil, evil, evil
	r.Events[0].Text, r.Events[0].Level = evil, evil
	r.Reason, r.Ready, r.Version, r.Listen = evil, false, evil, evil
	r.Pool.Closed[evil] = 7
	text := view{report: r, width: 80}.String()
	require.Equal(t, strings.Count(view{report: report(), width: 80}.String(), "\n"), strings.Count(text, "\n"))
	for _, c := range text {
		require.True(t, c == '\n' || unicode.IsPrint(c), "%U", c)
	}
}

// TestPerSecond: with a report of a moment ago bytes are shown per second.
func TestPerSecond(t *testing.T) {
	before, after := report(), report()
	after.Now = now.Add(2 * time.Second)
	after.Services[0].ToUsers += 4_000_000
	text := view{report: after, before: &before}.String()
	require.Regexp(t, `web .* 0 B/s +2\.00 MB/s`, text)
	after.Services[0].ToUsers = 5 // opened anew: not known
	require.Regexp(t, `web .* 0 B/s +0 B/s`, view{report: after, before: &before}.String())
}

func TestEmpty(t *testing.T) {
	text := view{report: status.Report{Program: "tunnel-client", Name: "pi", Server: "example.com", Reason: "not connected yet"}}.String()
	require.Contains(t, text, "not ready: not connected yet")
	require.Contains(t, text, "Sessions 0\n")
	require.NotContains(t, text, "CLIENT")
}

func TestFormats(t *testing.T) {
	for bytes, want := range map[float64]string{0: "0 B", 999: "999 B", 999.6: "1.00 kB", 1234: "1.23 kB", 99_960: "100 kB", 999_600: "1.00 MB", 12_345_678: "12.3 MB", 5e12: "5.00 TB", 5e15: "5 PB"} {
		require.Equal(t, want, size(bytes))
	}
	for seconds, want := range map[float64]string{0: "", 0.0001: "0.1 ms", 0.041: "41 ms", 0.9999: "1.0 s", 2.5: "2.5 s"} {
		require.Equal(t, want, took(seconds))
	}
	for seconds, want := range map[float64]string{-1: "0s", 59.9: "59s", 61: "1m1s", 3600: "1h0m", 90000: "1d1h"} {
		require.Equal(t, want, lasted(seconds))
	}
}
