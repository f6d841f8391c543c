package e2e

import (
	"encoding/binary"
	"flag"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	udpTime = flag.Duration("udp.time", time.Second, "how long TestUDPStream sends")
	udpRate = flag.Int("udp.rate", 1000, "datagrams a second that TestUDPStream sends")
)

// tool finds a program that a test needs of the system.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("%s is not here: apt-get install %s", name, pkg)
	return ""
}

// freeUDPPort finds a port that nobody has at the moment.
func freeUDPPort(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer c.Close()
	return portOf(t, c.LocalAddr().String())
}

// TestDNS does what docs/UDP.md shows, with a DNS server and a resolver that know
// nothing of tunnels.
func TestDNS(t *testing.T) {
	t.Parallel()
	dig := tool(t, "dig", "bind9-dnsutils")
	target := startDNS(t)
	page, err := os.ReadFile("../../docs/UDP.md")
	require.NoError(t, err)
	commands := regexp.MustCompile("(?s)```sh\ntunnel-client (.*?)\ndig (.*?)\n```").FindStringSubmatch(string(page))
	require.NotNil(t, commands, "the example of docs/UDP.md")

	_, address, key := startServer(t)
	public := freeUDPPort(t)
	args := strings.NewReplacer("HOST", address, "udp/5353", "udp/"+public, ":53", ":"+target).Replace(commands[1])
	client := newHost(t, key).start("tunnel-client", strings.Fields(args)...)
	client.line(`Service "udp/` + public + `" is up: udp/127\.0\.0\.1:` + public + ` leads to udp/127\.0\.0\.1:` + target)

	question := strings.NewReplacer("HOST", "127.0.0.1", "5353", public).Replace(commands[2])
	out, err := exec.Command(dig, strings.Fields(question)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `router\.home\.arpa\.\s+\d+\s+IN\s+A\s+192\.168\.1\.1`, string(out))
	require.Contains(t, string(out), "(UDP)")

	var users sync.WaitGroup // each from a port of its own
	for range 20 {
		users.Go(func() {
			out, err := exec.Command(dig, append(strings.Fields(question), "+short", "+tries=1")...).CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != "192.168.1.1" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	users.Wait()
	out, err = exec.Command(dig, "@127.0.0.1", "-p", public, "big.home.arpa", "TXT", "+bufsize=4096", "+ignore").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), strings.Repeat("x", 250), "an answer that is larger than a packet of most networks")
	client.stop()

	options := regexp.MustCompile("```sh\ntunnel-client (.*--udp-idle.*)\n```").FindStringSubmatch(string(page))
	require.NotNil(t, options, "the example with options")
	args = strings.NewReplacer("HOST", address, "5353:53", freeUDPPort(t)+":"+target, "51820:51820", freeUDPPort(t)+":51820").Replace(options[1])
	client = newHost(t, key).start("tunnel-client", strings.Fields(args)...)
	at := client.line(`Service "dns" is up: udp/127\.0\.0\.1:(\d+) leads to udp/localhost:` + target)[1]
	client.line(`Service "vpn" is up`)
	out, err = exec.Command(dig, "@127.0.0.1", "-p", at, "router.home.arpa", "+short").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "192.168.1.1\n", string(out))
	client.stop()
}

// startDNS runs a DNS server and returns its port.
func startDNS(t *testing.T) (port string) {
	t.Helper()
	dnsmasq := tool(t, "dnsmasq", "dnsmasq-base")
	port = freeUDPPort(t)
	args := []string{"--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port=" + port, "--edns-packet-max=4096",
		"--address=/router.home.arpa/192.168.1.1"}
	for range 10 {
		args = append(args, "--txt-record=big.home.arpa,"+strings.Repeat("x", 250))
	}
	c := exec.Command(dnsmasq, args...)
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	dieWithTests(c)
	require.NoError(t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }() // with the kill below
	t.Cleanup(func() {
		c.Process.Kill()
		<-ended
	})
	for limit := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		l, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			l.Close()
			return port
		}
		select {
		case err := <-ended:
			ended <- err
			t.Skipf("dnsmasq does not run here: %v: %s", err, said.String())
		default:
		}
		require.True(t, time.Now().Before(limit), "dnsmasq does not answer")
	}
}

// TestUDPStream sends 1,400 bytes a datagram at a steady rate to a target that
// returns them, and wants all but one in a hundred back, and no memory gone. What
// the programs took for it is told: see docs/PERFORMANCE.md for the rates.
func TestUDPStream(t *testing.T) {
	target, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	target.(*net.UDPConn).SetReadBuffer(4 << 20)
	var all sync.WaitGroup
	all.Go(func() { // ends with target
		buf := make([]byte, 2048)
		for {
			n, from, err := target.ReadFrom(buf)
			if err != nil {
				return
			}
			target.WriteTo(buf[:n], from)
		}
	})
	defer all.Wait()
	defer target.Close()
	server, address, key := startServer(t)
	client := startClient(t, key, address, "-R", "udp/0:"+target.LocalAddr().String())
	public := client.line(`is up: udp/(\S+) leads to`)[1]
	conn, err := net.Dial("udp", public)
	require.NoError(t, err)
	defer conn.Close()
	conn.(*net.UDPConn).SetReadBuffer(4 << 20)

	var got, wrong atomic.Int64
	all.Go(func() { // ends with conn
		buf := make([]byte, 2048)
		for last := int64(-1); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			number := int64(binary.BigEndian.Uint64(buf))
			if n != 1400 || number <= last {
				wrong.Add(1)
			}
			last = number
			got.Add(1)
		}
	})
	datagram := make([]byte, 1400)
	sent := 0
	halfway := 0 // memory of both
	for begun := time.Now(); time.Since(begun) < *udpTime; time.Sleep(time.Millisecond) {
		for due := int(time.Since(begun).Seconds() * float64(*udpRate)); sent < due; sent++ {
			binary.BigEndian.PutUint64(datagram, uint64(sent))
			_, err := conn.Write(datagram)
			require.NoError(t, err)
		}
		if halfway == 0 && time.Since(begun) > *udpTime/2 {
			halfway = memory(server) + memory(client)
		}
	}
	for last := int64(-1); got.Load() > last && got.Load() < int64(sent); time.Sleep(200 * time.Millisecond) {
		last = got.Load()
	}
	after := memory(server) + memory(client)
	conn.Close()
	client.stop()
	server.stop()
	lost := sent - int(got.Load())
	t.Logf("%d datagrams a second for %v: %d of %d lost; memory of both programs %d KiB halfway, %d KiB at the end",
		*udpRate, *udpTime, lost, sent, halfway, after)
	for _, p := range []*process{server, client} {
		used := p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
		t.Logf("%s: %v of processor time, %v a datagram both ways", p.cmd.Args[0], used, used/time.Duration(sent))
	}
	if lost > 0 {
		t.Logf("the logs tell of %d drops of the server and %d of the client", server.count("is dropped"), client.count("is dropped"))
	}
	require.Less(t, lost*100, sent, "one in a hundred")
	require.Zero(t, wrong.Load(), "whole, and in order")
	if halfway > 0 {
		require.Less(t, after, halfway+16<<10, "memory grows")
	}
}

// memory is what a program has resident, in KiB; 0 where the system does not tell.
func memory(p *process) int {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(found[1]))
	return n
}
