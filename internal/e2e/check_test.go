package e2e

import (
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/testnet"
)

// onTerminal runs a program to its end on a terminal of 80 columns, without
// colours, and returns what is seen there.
func (h host) onTerminal(program string, args ...string) (screen string, status int) {
	h.t.Helper()
	h.env = append(h.env, "NO_COLOR=1")
	reader, tty := openTerminal(h.t)
	p := h.startOn(reader, tty, program, args...)
	status = p.status()
	return p.text(), status
}

// unwrapped is what a check shows, a line for each step, without what differs from
// one run to the next: times, keys' IDs, certificates and their dates.
func unwrapped(text string) string {
	const columns = "                                 " // up to the text
	text = regexp.MustCompile(`\n`+columns+`(-> )? *`).ReplaceAllString(text, " $1")
	text = regexp.MustCompile(`(?m)^(\w+) +([\d.]+ m?s)?  `).ReplaceAllString(text, "$1 ")
	text = regexp.MustCompile(`SHA-256( [0-9a-f]+)+`).ReplaceAllString(text, "SHA-256 …")
	text = regexp.MustCompile(`\b[0-9a-f]{16}\b`).ReplaceAllString(text, "ID")
	text = regexp.MustCompile(`\b20\d\d-\d\d-\d\d\b`).ReplaceAllString(text, "DATE")
	text = regexp.MustCompile(`\d+\.\d\d ms`).ReplaceAllString(text, "TIME")
	return strings.TrimSpace(regexp.MustCompile(` {2,}`).ReplaceAllString(text, " "))
}

// documentedOutput is the block of a page with a command and what it shows.
func documentedOutput(t *testing.T, page, command string) string {
	t.Helper()
	return inDocument(t, page, "(?s)```\n\\$ "+regexp.QuoteMeta(command)+"\n(.*?)```")
}

// TestCheckPage runs the commands of docs/CHECK.md, which show what it says.
func TestCheckPage(t *testing.T) {
	t.Parallel()
	page, nobody, here := web(t, "page"), "127.0.0.1:"+freePort(t), freePort(t)
	public, other := freePort(t), freePort(t)
	server, address, key := startServer(t, "--allow-ports", public+","+other)
	at := newHost(t, key)
	try := strings.NewReplacer("example.com", address, "8080:3000", public+":"+page, "80:3000", "80:"+page,
		"8081:3001", other+":"+nobody, "db=5432:", "db="+here+":")
	back := strings.NewReplacer(address, "example.com:10101", "127.0.0.1 is an address already", "example.com is 203.0.113.7",
		page, "localhost:3000", nobody, "localhost:3001", "port "+public, "port 8080", "port "+other, "port 8081",
		"127.0.0.1:"+here, "127.0.0.1:5432", "("+public+","+other+")", "(1024-65535)")
	for command, status := range map[string]int{
		"tunnel-client check --server example.com -R web=8080:3000":                                    0,
		"tunnel-client check --server example.com -R web=80:3000 -R wiki=8081:3001 -L db=5432:db:5432": 1,
	} {
		words := strings.Fields(try.Replace(command))
		screen, got := at.onTerminal(words[0], words[1:]...)
		t.Log(screen)
		require.Equal(t, status, got)
		seen := strings.Replace(back.Replace(unwrapped(screen)), "connected to example.com:", "connected to 203.0.113.7:", 1)
		require.Equal(t, unwrapped(documentedOutput(t, "CHECK.md", command)), seen)
		for line := range strings.Lines(screen) {
			require.LessOrEqual(t, len([]rune(strings.TrimRight(line, "\n"))), 80, line)
		}
	}
	server.stop()
}

// TestCheckBesideClient: the check of a running client, with its state directory,
// disturbs nobody.
func TestCheckBesideClient(t *testing.T) {
	t.Parallel()
	slow := newHalves(t)
	server, address, key := startServer(t)
	at := newHost(t, key)
	public := freePort(t)
	page := "127.0.0.1:" + freePort(t)
	args := []string{"--server", address, "-R", "slow=" + public + ":" + slow.address, "--admin", page}
	client := at.start("tunnel-client", args...)
	client.line(`Service "slow" is up`)
	early := user(t, "127.0.0.1:"+public)
	for range 3 {
		out, errOut, status := at.output("tunnel-client", append([]string{"check"}, args...)...)
		require.Zero(t, status, out+errOut)
		require.Regexp(t, `(?m)^ok .* service +slow: port `+public+` is published by this client, which is running$`, out)
		require.Contains(t, out, page+" is in use, as it must be while this program runs\n")
		require.True(t, strings.HasSuffix(out, "\nAll is well.\n"), out)
	}
	late := user(t, "127.0.0.1:"+public)
	slow.finish()
	for _, c := range []net.Conn{early, late} {
		rest := make([]byte, len(secondHalf))
		_, err := c.Read(rest)
		require.NoError(t, err)
		require.Equal(t, secondHalf, string(rest))
		c.Close()
	}
	require.Equal(t, 4, server.count(" joined ("), "the client once, and three checks")
	require.Zero(t, server.count("denied")+client.count("WARN"))

	// Another state directory is another client, for whom the port is held.
	out, _, status := newHost(t, key).output("tunnel-client", append([]string{"check"}, args...)...)
	require.Equal(t, 1, status)
	require.Regexp(t, `(?m)^failed .* service +slow: port `+public+` is held by client "[^"]+"\n +-> choose another port, or 0 for any; if it is this very client that has it, check with its --state-dir$`, out)
	require.Regexp(t, `(?m)^failed +admin +`+page+` is in use by another program\n +-> stop it, or choose another port with --admin$`, out)
	client.stop()
	server.stop()
}

// TestCheckFiltered: a packet filter that says nothing, in front of the server, and
// in front of a target.
func TestCheckFiltered(t *testing.T) {
	t.Parallel()
	if err := netAvailable(); err != nil {
		t.Skipf("no network of namespaces here: %v", err)
	}
	link, err := testnet.New(time.Millisecond)
	require.NoError(t, err)
	t.Cleanup(link.Close)
	key := newKey()
	at, behind := newHost(t, key), newHost(t, key)
	at.net, behind.net = link.A, link.B
	server := at.start("tunnel-server", "--listen", link.A.Addr()+":"+tunnelPort)
	server.line(listening)

	require.NoError(t, link.A.Filter("tcp dport 81 drop"))
	out, _, status := behind.output("tunnel-client", "check", "--server", link.A.Addr(), "-R", "web=8080:"+link.A.Addr()+":81", "--connect-timeout", "500ms")
	require.Equal(t, 1, status)
	require.Regexp(t, `(?m)^ok .* service +web: port 8080 is allowed and free$`, out)
	require.Regexp(t, `(?m)^failed +5\d\d ms  target +web: target `+link.A.Addr()+`:81 did not answer in time\n +-> check the target's address, and that this machine can reach it$`, out)
	require.Equal(t, 1, strings.Count(out, "\nfailed "), out)

	require.NoError(t, link.A.Filter("tcp dport "+tunnelPort+" drop"))
	out, errOut, status := behind.output("tunnel-client", "check", "--server", link.A.Addr(), "-R", "web=8080:127.0.0.1:81")
	require.Equal(t, 1, status)
	require.Equal(t, "tunnel-client: the check found 2 failures\n", errOut)
	require.Regexp(t, `(?m)^failed +10\.\d s  connect +No answer from `+link.A.Addr()+`:10101 in time\n +-> does its firewall let the port in, and does a tunnel-server listen there\?$`, out)
	require.Equal(t, 6, strings.Count(out, "\nskipped "), out)
	t.Log(out)
}

// TestCheckServer: of a server that is about to start, that runs, and whose port
// another program has.
func TestCheckServer(t *testing.T) {
	t.Parallel()
	at := newHost(t, "")
	page := "127.0.0.1:" + freePort(t)
	args := []string{"--listen", "127.0.0.1:" + freePort(t), "--bind", "127.0.0.1", "--admin", page}
	check := func(h host) (string, int) {
		out, errOut, status := h.output("tunnel-server", append([]string{"check"}, args...)...)
		return out + errOut, status
	}
	out, status := check(at)
	require.Zero(t, status, out)
	require.Contains(t, out, args[1]+" is free\n")
	require.Contains(t, out, page+" is free\n")
	require.NoDirExists(t, at.state)

	server := at.start("tunnel-server", args...)
	server.line(listening)
	out, status = check(at)
	require.Zero(t, status, out)
	require.Contains(t, out, args[1]+" is held by a tunnel-server with this key, which is running\n")
	require.Contains(t, out, page+" is in use, as it must be while this program runs\n")
	require.Regexp(t, `(?m)^ok +key +[0-9a-f]{16}, from `+filepath.Join(at.state, "key")+`$`, out)
	require.Zero(t, server.count("WARN")+server.count("joined"))

	out, status = check(newHost(t, ""))
	require.Equal(t, 1, status, out)
	require.Contains(t, out, args[1]+" is in use by another program, or by a tunnel-server with other keys or another --tls\n")
	server.stop()
}

// TestCheckCertificates: of a server in mode 2 that wants certificates of its
// clients, at both ends.
func TestCheckCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, certKey := ca.issue(t, "tunnel.example")
	own, ownKey := ca.issueFor(t, "laptop")
	key := newKey()
	at := newHost(t, key)
	args := []string{"--listen", "127.0.0.1:" + freePort(t), "--bind", "127.0.0.1", "--tls", "2",
		"--tls-cert", cert, "--tls-key", certKey, "--tls-client-ca", ca.file}
	check := func(want string, status int, program string, args ...string) {
		t.Helper()
		out, errOut, got := at.output(program, append([]string{"check"}, args...)...)
		require.Equal(t, status, got, out+errOut)
		require.Regexp(t, `(?m)^`+want+`$`, out)
	}
	issued := `CN=.*, issued by CN=an authority, until 20\S+, SHA-256 [0-9a-f]{64}`
	soon := `\n +-> it ends in less than a day, on 20\S+: renew it on the server`
	check(`warning +certificate +for tunnel\.example; `+issued+`; clients must show one too`+soon, 0, "tunnel-server", args...)
	server := at.start("tunnel-server", args...)
	address := server.line(listening)[1]
	check(`ok +[0-9.]+ ms  listen +`+address+` is held by a tunnel-server with this key, which is running`, 0, "tunnel-server", args...)

	client := []string{"--server", address, "--tls", "2", "--tls-ca", ca.file, "--tls-name", "tunnel.example", "-R", "0:" + web(t, "page")}
	check(`failed +[0-9.]+ ms  TLS +.*: client certificate refused: the server wants one, and there is none .*\n +-> give one that the server's operator issued with --tls-cert and --tls-key`,
		1, "tunnel-client", client...)
	client = append(client, "--tls-cert", own, "--tls-key", ownKey)
	check(`warning +[0-9.]+ ms  TLS +verified, mode 2; `+issued+soon, 0, "tunnel-client", client...)
	server.stop()
}
