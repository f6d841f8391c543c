package e2e

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLimits runs the command of LIMITS.md, and has the users whom it bounds.
func TestLimits(t *testing.T) {
	t.Parallel()
	_, address, key := startServer(t)
	web, backup := freePort(t), freePort(t)
	page, store := newHalves(t), openStream(t)
	args := documented(t, "LIMITS.md", "tunnel-client", "HOST", address,
		"8080:3000", web+":"+page.address, "8022:22", backup+":"+store.address, "=50", "=2")
	client := newHost(t, key).start("tunnel-client", args...)
	client.line(`Service "web" is up: `)
	client.line(`Service "backup" is up: `)

	first, second := user(t, "127.0.0.1:"+web), user(t, "127.0.0.1:"+web)
	third, err := net.Dial("tcp", "127.0.0.1:"+web)
	if err == nil {
		defer third.Close()
		third.SetDeadline(time.Now().Add(patience))
		_, err = third.Read(make([]byte, 1))
	}
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	client.line(`WARN .*"web".*as many users as it may have; see --max-streams-per-service`)
	page.finish()
	for _, c := range []net.Conn{first, second} {
		rest, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, secondHalf, string(rest))
	}

	const rate = 20e6 / 8
	for _, way := range []string{"up", "down"} {
		got := store.measure(t, "127.0.0.1:"+backup, way, 2*time.Second)
		t.Logf("%s: %.3f of 20 Mbit over 2 s", way, got/rate)
		require.Less(t, got/rate, 1.1)
		require.Greater(t, got/rate, 0.3, "on a machine however busy")
	}
}

// TestRatesLong measures rates over 10 s, each way, beside a service without one.
func TestRatesLong(t *testing.T) {
	long(t)
	_, address, key := startServer(t)
	store, other := openStream(t), openStream(t)
	for _, rate := range []struct {
		text string
		bits float64
	}{{"1Mbit", 1e6}, {"100Mbit", 100e6}} {
		limited, free := freePort(t), freePort(t)
		client := startClient(t, key, address, "--rate", "slow="+rate.text,
			"-R", "slow="+limited+":"+store.address, "-R", "free="+free+":"+other.address)
		client.line(`Service "slow" is up: `)
		client.line(`Service "free" is up: `)
		for _, way := range []string{"up", "down"} {
			alone := other.measure(t, "127.0.0.1:"+free, way, 3*time.Second)
			got := make(chan float64, 1)
			go func() { got <- store.measure(t, "127.0.0.1:"+limited, way, 10*time.Second) }() // ends within patience
			beside := other.measure(t, "127.0.0.1:"+free, way, 10*time.Second)
			share := <-got * 8 / rate.bits
			t.Logf("%s of %s over 10 s beside a service without: %.4f of the rate; that one %.0f Mbit alone, %.0f Mbit beside it",
				way, rate.text, share, alone*8/1e6, beside*8/1e6)
			require.InDelta(t, 1, share, 0.05)
		}
		for _, way := range []string{"up", "down"} {
			share := store.measure(t, "127.0.0.1:"+limited, way, 10*time.Second) * 8 / rate.bits
			t.Logf("%s of %s over 10 s alone: %.4f of the rate", way, rate.text, share)
			require.InDelta(t, 1, share, 0.05)
		}
		client.stop()
	}
}

// TestKeyRatesLong measures the rate that two clients of a key share, over 10 s
// each way, and the one that they have after it was changed.
func TestKeyRatesLong(t *testing.T) {
	long(t)
	at := newHost(t, "")
	require.NoError(t, os.MkdirAll(at.state, 0o700))
	key := newKey()
	allow := func(rate string) {
		text := "slow:\n  key: " + key + "\n  rate: " + rate + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(at.state, "keys.yaml"), []byte(text), 0o600))
	}
	allow("1Mbit")
	server := at.start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1")
	address := server.line(listening)[1]
	var stores [2]*stream
	var publics [2]string
	for i := range stores {
		stores[i] = openStream(t)
		client := startClient(t, key, address, "-R", "0:"+stores[i].address)
		publics[i] = client.line(`is up: (\S+) leads to`)[1]
	}
	for _, rate := range []struct {
		text string
		bits float64
	}{{"1Mbit", 1e6}, {"100Mbit", 100e6}} {
		if rate.text != "1Mbit" {
			allow(rate.text)
			server.line(`The keys have changed, \S+: default, slow`)
		}
		for _, way := range []string{"up", "down"} {
			first := make(chan float64, 1)
			go func() { first <- stores[0].measure(t, publics[0], way, 10*time.Second) }() // ends within patience
			two := stores[1].measure(t, publics[1], way, 10*time.Second)
			one := <-first
			t.Logf("%s, two clients of a key of %s over 10 s: %.4f and %.4f of the rate", way, rate.text, one*8/rate.bits, two*8/rate.bits)
			require.InDelta(t, 1, (one+two)*8/rate.bits, 0.05)
			require.InDelta(t, one, two, (one+two)/5, "they share it")
		}
	}
}

// stream is a target that sends without end, or receives: the first line tells.
type stream struct {
	address string
	up      chan float64 // bytes a second that a user's upload brought
}

func openStream(t *testing.T) *stream {
	l := listenHere(t)
	s := &stream{address: l.Addr().String(), up: make(chan float64, 16)}
	serve(t, l, func(c net.Conn) {
		word := make([]byte, len("down "))
		if _, err := io.ReadFull(c, word); err != nil {
			return
		}
		if strings.HasPrefix(string(word), "up") {
			s.up <- speed(c)
			return
		}
		for err := error(nil); err == nil; {
			_, err = c.Write(make([]byte, 64<<10))
		}
	})
	return s
}

// speed reads until the end, and returns the bytes a second.
func speed(c net.Conn) float64 {
	begun := time.Now()
	bytes, _ := io.Copy(io.Discard, c)
	return float64(bytes) / time.Since(begun).Seconds()
}

// measure moves as much as can be for a while, and returns how many bytes a
// second the receiver had.
func (s *stream) measure(t *testing.T, public, way string, span time.Duration) float64 {
	c, err := net.Dial("tcp", public)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(span))
	io.WriteString(c, (way + "   ")[:len("down ")])
	if way == "down" {
		return speed(c)
	}
	for err := error(nil); err == nil; {
		_, err = c.Write(make([]byte, 64<<10))
	}
	c.(*net.TCPConn).SetLinger(0) // what is on its way does not count
	c.Close()
	select {
	case got := <-s.up:
		return got
	case <-time.After(patience):
		t.Error("the target's end of the upload does not come")
		return 0
	}
}
