package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/cli"
)

// TestMain fails the package when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newHost gives the test a state directory that does not exist yet, and no
// key from outside.
func newHost(t *testing.T) (stateDir string) {
	stateDir = filepath.Join(t.TempDir(), "state")
	t.Setenv("STATE_DIRECTORY", stateDir)
	t.Setenv("TUNNEL_LISTEN", "127.0.0.1:0") // whatever else runs on this machine
	t.Setenv("TUNNEL_KEY", "")
	return stateDir
}

func run(ctx context.Context, args ...string) (status int, out, errOut string) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // for what should not have started
	defer cancel()
	var stdout, stderr bytes.Buffer
	status = cli.Run(ctx, command(), args, &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

func TestWrongInput(t *testing.T) {
	for args, want := range map[string]string{
		"--nope":                            "unknown flag: --nope; see --help",
		"start":                             `unknown argument "start"; see --help`,
		"--listen":                          "flag needs an argument: --listen",
		"--listen=":                         "--listen is empty",
		"--listen 10101":                    `--listen "10101": want [ADDRESS]:PORT, as in :10101`,
		"--listen :99999":                   `--listen ":99999": want [ADDRESS]:PORT, as in :10101`,
		"check --listen 10101":              `--listen "10101": want [ADDRESS]:PORT, as in :10101`,
		"--listen 192.0.2.1:0":              "--listen: listen tcp 192.0.2.1:0: bind: ",
		"--bind=":                           "--bind is empty",
		"--bind localhost":                  `--bind: "localhost" is not an IP address`,
		"--bind 127.0.0.1:80":               `--bind: "127.0.0.1:80" is not an IP address`,
		"--allow-ports=":                    "--allow-ports is empty",
		"--trust-proxy lb.example":          `--trust-proxy: "lb.example" is not a prefix`,
		"--allow-ports http":                `--allow-ports: "http" is not a port`,
		"--allow-ports 0":                   `--allow-ports: "0" is not a port`,
		"--allow-ports 9-8":                 "--allow-ports: range 9-8 runs backwards",
		"--allow-from=":                     "--allow-from is empty",
		"--allow-from example.com":          `--allow-from: "example.com" is not a prefix; write prefixes and addresses`,
		"--tls=":                            "--tls is empty",
		"--tls 3":                           `--tls: unknown TLS mode "3": use 0 (plain TCP), 1 (self-signed) or 2 (verified)`,
		"--tls on":                          `--tls: unknown TLS mode "on"`,
		"--tls 2":                           "--tls 2 needs --tls-cert and --tls-key",
		"--tls 2 --tls-cert x":              "--tls-cert and --tls-key go together",
		"--tls-key x":                       "--tls-cert and --tls-key go together",
		"--tls-cert x --tls-key y":          "--tls-cert is for --tls 2; with --tls 1 nobody would verify it",
		"--tls 2 --tls-cert nx --tls-key y": "--tls-cert nx, --tls-key y: open nx: ",
		"--tls-client-ca x":                 "--tls-client-ca is for --tls 2",
		"--key-file nx":                     "--key-file: ",
		"--key-file=":                       "--key-file is empty",
		"--key-file .":                      "--key-file: . is not a file",
		"--key-file main.go":                "--key-file: main.go: malformed key",
		"--state-dir=":                      "--state-dir is empty",
		"--state-dir main.go":               "main.go",
		"--pool-max x":                      `--pool-max: "x" is not a whole number`,
		"--pool-max 0":                      "--pool-max 0: want at least 1",
		"--pool-max -1":                     "--pool-max -1: want at least 1",
		"--pool-max 2000000":                "--pool-max: 2000000 is not between 1 and 1048576",
		"--heartbeat 5":                     `--heartbeat: "5" is not a time with its unit, as in 500ms, 5s or 2m`,
		"--heartbeat 0s":                    "--heartbeat 0s: want more than 0",
		"--heartbeat 1ms":                   "--heartbeat: 1ms is not between 10ms and 10m0s",
		"--heartbeat 1h":                    "--heartbeat: 1h0m0s is not between 10ms and 10m0s",
		"--wait 0s":                         "--wait 0s: want more than 0",
		"--wait soon":                       `--wait: "soon" is not a time with its unit`,
		"--drain -1s":                       "--drain -1s: want 0 or more",
		"--log-level loud":                  `--log-level "loud": want debug, info, warn, error or none`,
		"key shwo":                          `unknown command "shwo"; did you mean "show"?`,
		"key show it":                       `there is no key "it" in `,
		"key show it now":                   `unknown argument "now"`,
		"key add":                           "an argument is missing: tunnel-server key add NAME",
		"key add anna ben":                  `unknown argument "ben"`,
		"key add an/na":                     `"an/na" is not a key's name`,
		"key add default":                   `"default" is the key that the first start makes; take another name`,
		"key add anna --ports=":             "--ports is empty",
		"key add anna --ports http":         `--ports: "http" is not a port`,
		"key add anna --forward db":         `--forward: "db" is not HOST:PORT`,
		"key add anna --rate 50":            `--rate: "50" has no unit`,
		"key add anna --max-streams -1":     "--max-streams -1: want 0 or more",
		"key revoke":                        "an argument is missing: tunnel-server key revoke NAME",
		"key list --key-file nx":            "--key-file: ",
		"key show --key-file nx":            "--key-file: ",
		"key show --nope":                   "unknown flag: --nope",
		"demo now":                          `unknown argument "now"`,
		"demo --rtt -1ms":                   "--rtt -1ms: want 0 to 1s",
		"demo --rtt 2s":                     "--rtt 2s: want 0 to 1s",
		"demo --rtt 40":                     `--rtt: "40" is not a time with its unit`,
		"demo --log-level loud":             `--log-level "loud"`,
	} {
		t.Run(args, func(t *testing.T) {
			stateDir := newHost(t)
			status, out, errOut := run(context.Background(), strings.Fields(args)...)
			require.Equal(t, 2, status, errOut)
			require.Contains(t, errOut, want)
			require.True(t, strings.HasPrefix(errOut, "tunnel-server: "), errOut)
			require.Equal(t, 1, strings.Count(errOut, "\n"), errOut)
			require.Empty(t, out)
			require.NoDirExists(t, stateDir, "nothing is made before everything is checked")
		})
	}
}

func TestWrongKeyIsNotShown(t *testing.T) {
	newHost(t)
	key := pool.NewKey().Text()
	for _, bad := range []string{key[:21], key + "=", key + key + key, "KEY " + key} {
		t.Setenv("TUNNEL_KEY", bad)
		for _, args := range [][]string{nil, {"key", "show"}} {
			status, out, errOut := run(context.Background(), args...)
			require.Equal(t, 2, status)
			require.Contains(t, errOut, "TUNNEL_KEY: malformed key")
			require.NotContains(t, out+errOut, key[:12])
		}
	}
	t.Setenv("TUNNEL_KEY", "")
	for _, args := range [][]string{{key}, {"key", "add", key}, {"key", "revoke", key}, {"key", "show", key}, {"--key-file", key}, {"--tls", key}, {"-x" + key}, {"--bind=" + key}, {"--pool-max", key},
		{"--allow-ports", key}, {"--allow-ports", "x" + key}, {"--allow-ports", key[:14] + "-" + key[15:]}, {"--allow-from", "x" + key}, {"--allow-forward", key}, {"key", "add", "anna", "--ports", key}, {"key", "add", "anna", "--rate", key}} {
		status, out, errOut := run(context.Background(), args...)
		require.Equal(t, 2, status)
		require.NotContains(t, out+errOut, key[:12])
	}
}

func TestPortTaken(t *testing.T) {
	stateDir := newHost(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	status, out, errOut := run(context.Background(), "--listen", l.Addr().String())
	require.Equal(t, 1, status)
	require.Contains(t, errOut, l.Addr().String())
	require.Contains(t, errOut, "another program has the port")
	require.Contains(t, errOut, "--listen")
	require.Equal(t, 1, strings.Count(errOut, "\n"))
	require.Empty(t, out)
	require.NoDirExists(t, stateDir, "a key made now would never be shown")
}

func TestServeUntilStopped(t *testing.T) {
	for _, args := range []string{"", "--tls 0", "--drain 0s", "--allow-ports 9000-9099 --bind 127.0.0.1 --pool-max 8"} {
		t.Run(args, func(t *testing.T) {
			stateDir := newHost(t)
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan int, 1)
			var errOut string
			go func() { // ends with ctx
				status, _, text := run(ctx, append(strings.Fields(args), "--listen", "127.0.0.1:0", "--log-level", "none")...)
				errOut = text
				ended <- status
			}()
			require.Eventually(t, func() bool {
				_, err := os.Stat(filepath.Join(stateDir, "key"))
				return err == nil || len(ended) > 0
			}, 10*time.Second, time.Millisecond)
			stop()
			require.Zero(t, <-ended, errOut)
			require.Empty(t, errOut)
		})
	}
}

func TestKeyShow(t *testing.T) {
	stateDir := newHost(t)
	status, made, errOut := run(context.Background(), "key", "show")
	require.Zero(t, status)
	require.Equal(t, "A new key was made and kept in "+filepath.Join(stateDir, "key")+".\n", errOut)
	_, err := pool.ParseKey(strings.TrimSuffix(made, "\n"))
	require.NoError(t, err, "the key and nothing else")
	require.FileExists(t, filepath.Join(stateDir, "key"))

	_, again, errOut := run(context.Background(), "key", "show")
	require.Equal(t, made, again)
	require.Empty(t, errOut)
	_, elsewhere, _ := run(context.Background(), "key", "show", "--state-dir", t.TempDir())
	require.NotEqual(t, made, elsewhere)
	_, given, _ := run(context.Background(), "key", "show", "--key-file", filepath.Join(stateDir, "key"), "--state-dir", t.TempDir())
	require.Equal(t, made, given)
	t.Setenv("TUNNEL_KEY", strings.TrimSpace(elsewhere))
	_, fromEnvironment, _ := run(context.Background(), "key", "show")
	require.Equal(t, elsewhere, fromEnvironment)
}

func TestKeyAloneShowsWhatThereIs(t *testing.T) {
	stateDir := newHost(t)
	status, out, errOut := run(context.Background(), "key")
	require.Zero(t, status)
	require.Empty(t, errOut)
	require.Contains(t, out, "show")
	require.NoDirExists(t, stateDir)
}

func TestHelp(t *testing.T) {
	stateDir := newHost(t)
	var each func(c *cobra.Command, path []string)
	each = func(c *cobra.Command, path []string) {
		status, out, errOut := run(context.Background(), append(path, "--help")...)
		require.Zero(t, status)
		require.Empty(t, errOut)
		c.Flags().VisitAll(func(f *pflag.Flag) {
			require.Contains(t, out, "--"+f.Name+" ")
			require.NotEmpty(t, f.Usage)
		})
		if c.Runnable() {
			require.NotEmpty(t, c.Example)
			require.Contains(t, out, c.Example)
		}
		for _, sub := range c.Commands() {
			require.Contains(t, out, sub.Short)
			each(sub, append(path, sub.Name()))
		}
	}
	each(command(), nil)
	require.NoDirExists(t, stateDir)
}

func TestVersionAndCompletion(t *testing.T) {
	status, out, errOut := run(context.Background(), "--version")
	require.Zero(t, status)
	require.Empty(t, errOut)
	require.Equal(t, "tunnel-server "+cli.Version()+"\n", out)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		status, out, errOut = run(context.Background(), "completion", shell)
		require.Zero(t, status)
		require.Empty(t, errOut)
		require.Contains(t, out, "tunnel-server")
	}
}

func TestExamplePort(t *testing.T) {
	for _, c := range []struct {
		allow, own string
		want       int
	}{
		{"1024-65535", "10101", 8080},
		{"9000-9099", "10101", 9000},
		{"443,80", "10101", 80},
		{"1024-65535", "8080", 1024},
		{"8080-8089", "8080", 8081},
		{"8080", "8080", 8080}, // none is left; the server will say so
	} {
		require.Equal(t, c.want, examplePort(c.allow, c.own), "%v", c)
	}
}

func TestDemoOnce(t *testing.T) {
	stateDir := newHost(t)
	status, out, errOut := run(context.Background(), "demo", "--once")
	require.Zero(t, status, errOut)
	require.Contains(t, out, "The page came through the tunnel.")
	require.NoDirExists(t, stateDir, "its key is a throwaway")
}
