package e2e

import (
	"io"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// requireOneWarning wants the line about a mistake to be the only warning.
func requireOneWarning(t *testing.T, p *process, pattern string) {
	t.Helper()
	p.line(`WARN +` + pattern)
	require.Equal(t, 1, p.count("WARN"), p.text())
	p.stop()
}

func TestJoinMistakes(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	_, selfSigned, key := startServer(t)
	_, plain, plainKey := startServer(t, "--tls", "0")
	cert, certKey := ca.issue(t, "tunnel.example")
	_, verified, verifiedKey := startServer(t, "--tls", "2", "--tls-cert", cert, "--tls-key", certKey)
	nobody := "127.0.0.1:" + freePort(t)

	for what, c := range map[string]struct {
		key, address string
		args         []string
		want         string
	}{
		"wrong key": {pool.NewKey().Text(), selfSigned, nil,
			selfSigned + ` refused the key: use the one that 'tunnel-server key show' prints there, or ask its operator whether yours was revoked; trying again`},
		"wrong key, plain": {pool.NewKey().Text(), plain, []string{"--tls", "0"},
			plain + ` refused the key: use the one that 'tunnel-server key show' prints there, or ask its operator whether yours was revoked; trying again`},
		"plain client, TLS server": {key, selfSigned, []string{"--tls", "0"},
			`.*different TLS modes.*; start both with the same --tls; trying again`},
		"TLS client, plain server": {plainKey, plain, nil,
			`.*different TLS modes.*; start both with the same --tls; trying again`},
		"verifying client, self-signed server": {key, selfSigned, []string{"--tls", "2"},
			`The server's certificate .*; it is self-signed: does the server run with another --tls\?; trying again`},
		"the same, by the name that it has": {key, selfSigned, []string{"--tls", "2", "--tls-name", "localhost"},
			`The certificate of .* is not trusted: .*give it with --tls-ca; it is self-signed: does the server run with another --tls\?`},
		"certificate not trusted": {verifiedKey, verified, []string{"--tls", "2", "--tls-name", "tunnel.example"},
			`The certificate of 127\.0\.0\.1 is not trusted: its issuer is unknown here; give it with --tls-ca; trying again`},
		"certificate for another name": {verifiedKey, verified, []string{"--tls", "2", "--tls-ca", ca.file},
			`The server's certificate is not for "127\.0\.0\.1" \(.*\): check --server, or give the certificate's name with --tls-name; trying again`},
		"name not found": {key, "nosuch.invalid", nil,
			`Name "nosuch.invalid" (not found: check the server's name|could not be looked up .*: check this machine's DNS); trying again`},
		"nobody there": {key, nobody, nil,
			nobody + ` refused the connection: is tunnel-server running there, on that port\?; trying again`},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			requireOneWarning(t, startClient(t, c.key, c.address, append(c.args, "-R", "0:3000")...), c.want)
		})
	}
}

func TestServerLogsRefusedKey(t *testing.T) {
	t.Parallel()
	server, address, _ := startServer(t)
	client := startClient(t, pool.NewKey().Text(), address, "-R", "0:3000")
	id := client.line(`INFO +tunnel-client .* key ([0-9a-f]{16})`)[1]
	server.line(`WARN .*127\.0\.0\.1:\d+ .*unknown key.*` + id)
	client.stop()
}

func TestVerifiedCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, certKey := ca.issue(t, "tunnel.example")
	_, address, key := startServer(t, "--tls", "2", "--tls-cert", cert, "--tls-key", certKey)
	client := startClient(t, key, address, "--tls", "2", "--tls-ca", ca.file, "--tls-name", "tunnel.example", "-R", "0:"+web(t, "verified"))
	require.Equal(t, "verified", fetch(t, client.line(`is up: (\S+) leads to`)[1]))
}

func TestServiceMistakes(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	taken, free := portOf(t, other.Addr().String()), freePort(t)
	server, address, key := startServer(t, "--allow-ports", taken+","+free)
	holder := startClient(t, key, address, "--name", "the holder", "-R", free+":3000")
	holder.line(`Service "` + free + `" is up`)

	for what, c := range map[string]struct{ reverse, want, serverSays string }{
		"port in use by another program": {taken + ":3000",
			`Service "web" is not up: port ` + taken + ` is in use by another program on the server \(choose another port, or 0 for any; trying again until it is free\)`,
			`port ` + taken + ` is in use by another program`},
		"port of another client": {free + ":3000",
			`Service "web" is not up: port ` + free + ` is held by client "the holder".* \(choose another port, or 0 for any; trying again until it is free\)`,
			`port ` + free + ` is held by client "the holder"`},
		"port not allowed": {"81:3000",
			`Service "web" is not up: port 81 is not among those of the server's --allow-ports \(.*\) \(choose another port\)`,
			`service "web" on port 81 denied`},
		"the tunnel's own port": {portOf(t, address) + ":3000",
			`Service "web" is not up: port \d+ is the tunnel's own \(choose another port\)`, `is the tunnel's own`},
		"bind address not allowed": {"127.0.0.2:" + free + ":localhost:3000",
			`Service "web" is not up: the server binds public ports to 127\.0\.0\.1 only \(leave the bind address out`, `binds public ports to 127\.0\.0\.1 only`},
	} {
		t.Run(what, func(t *testing.T) {
			client := startClient(t, key, address, "-R", "web="+c.reverse)
			server.line(`WARN .*` + c.serverSays)
			requireOneWarning(t, client, c.want)
		})
	}
	holder.stop()
}

func TestTargetDown(t *testing.T) {
	t.Parallel()
	_, address, key := startServer(t)
	down := "127.0.0.1:" + freePort(t)
	client := startClient(t, key, address, "-R", "down=0:"+down, "-R", "lost=0:nosuch.invalid:80")
	for name, want := range map[string]string{
		"down": `Service "down": target ` + down + ` refused the connection: is it running\?`,
		"lost": `Service "lost": target nosuch.invalid:80: its name was not found`,
	} {
		at := client.line(`Service "` + name + `" is up: (\S+) leads to`)[1]
		c, err := net.Dial("tcp", at)
		if err == nil { // else the reset was faster than Dial
			_, err = io.ReadAll(c)
			c.Close()
		}
		require.Error(t, err, "a user of a target that is down is reset")
		client.line(`WARN +` + want)
	}
	require.Equal(t, 2, client.count("WARN"))
	client.stop()
}

func TestNothingStartsAfterAMistake(t *testing.T) {
	t.Parallel()
	at := newHost(t, "")
	for _, c := range [][]string{
		{"tunnel-server", "--pool-max", "0"},
		{"tunnel-server", "--heartbeat", "1ns"},
		{"tunnel-client", "--server", "x", "-R", "8080"},
		{"tunnel-client", "--server", "x", "-R", "8080:3000"},
	} {
		out, errOut, status := at.output(c[0], c[1:]...)
		require.Equal(t, 2, status)
		require.Empty(t, out)
		require.Regexp(t, `^`+c[0]+`: [^\n]+\n$`, errOut)
	}
	require.NoDirExists(t, at.state)

	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	_, errOut, status := at.output("tunnel-server", "--listen", other.Addr().String())
	require.Equal(t, 1, status)
	require.Regexp(t, `^tunnel-server: .*another program has the port.*--listen\)\n$`, errOut)
	_, err = os.Stat(at.state)
	require.ErrorIs(t, err, os.ErrNotExist)
}
