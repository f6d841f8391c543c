package e2e

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/testnet"
)

const (
	tunnelPort = "10101"
	publicPort = "8080" // the desk's
	echoPort   = "8081"

	// overseas is the simulated delay of one way between both ends.
	overseas = 20 * time.Millisecond
)

// site is a tunnel between two machines, with a desk behind it. Users come
// from the server's machine, so that all delay is the tunnel's.
type site struct {
	t              *testing.T
	link           *testnet.Link // A is the server's machine, B the client's
	server, client *process
	desk           *desk
	control        string // port of the control connection on the client's machine
}

var netAvailable = sync.OnceValue(testnet.Available)

// newSite starts a tunnel and waits until its pool is warm.
func newSite(t *testing.T, warm int, serverArgs, clientArgs []string) *site {
	t.Helper()
	if err := netAvailable(); err != nil {
		t.Skipf("no network of namespaces here: %v", err)
	}
	link, err := testnet.New(overseas)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	target, err := link.B.Listen("127.0.0.1:0")
	require.NoError(t, err)
	echo, err := link.B.Listen("127.0.0.1:0")
	require.NoError(t, err)
	s := &site{t: t, link: link, desk: openDesk(t, target)}
	serve(t, echo, repeat)
	key := newKey()
	at, behind := newHost(t, key), newHost(t, key)
	at.net, behind.net = link.A, link.B
	s.server = at.start("tunnel-server", append(serverArgs, "--listen", link.A.Addr()+":"+tunnelPort)...)
	s.server.line(listening)
	s.client = behind.start("tunnel-client", append(clientArgs,
		"--server", link.A.Addr()+":"+tunnelPort, "-R", publicPort+":"+s.desk.address, "-R", echoPort+":"+echo.Addr().String())...)
	s.client.line(fmt.Sprintf(`is up: .* \(%d connections warm`, warm))
	s.control = s.server.line(`at ` + link.B.Addr() + `:(\d+) joined`)[1]
	return s
}

// pooled are the arguments of a client whose pool has one size.
func pooled(size string, more ...string) []string {
	return append(more, "--pool-min", size, "--pool-max", size)
}

// call is one user's.
func (s *site) call() visit {
	return dialer(s.link.A.Dial).call(s.link.A.Addr() + ":" + publicPort)
}

// flows are the ports on the client's machine of all connections to the server
// that are open.
func (s *site) flows() (ports []string) {
	s.t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", s.client.cmd.Process.Pid))
	require.NoError(s.t, err)
	const established = "01"
	for line := range strings.Lines(string(table)) {
		column := strings.Fields(line) // number, local, remote, state, …
		if column[3] == established && hexPort(column[2]) == tunnelPort {
			ports = append(ports, hexPort(column[1]))
		}
	}
	return ports
}

// hexPort reads an address of /proc/net/tcp, as in 0100007F:2775.
func hexPort(address string) string {
	_, port, _ := strings.Cut(address, ":")
	b, err := hex.DecodeString(port)
	if err != nil || len(b) != 2 {
		return ""
	}
	return fmt.Sprint(int(b[0])<<8 | int(b[1]))
}

// forget has the path lose everything of the connections with these ports on
// the client's machine, in both directions and for good, and nobody is told. It
// is what a NAT does whose table was emptied.
func (s *site) forget(ports []string) {
	s.t.Helper()
	require.NotEmpty(s.t, ports)
	set := "{ " + strings.Join(ports, ", ") + " }"
	require.NoError(s.t, s.link.A.Filter("tcp dport "+tunnelPort+" tcp sport "+set+" drop"))
	require.NoError(s.t, s.link.B.Filter("tcp sport "+tunnelPort+" tcp dport "+set+" drop"))
}

// talk begins a talk with the echo.
func (s *site) talk() talk { return beginTalk(s.t, s.link.A.Dial, s.link.A.Addr()+":"+echoPort) }
