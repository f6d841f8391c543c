package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/cli"
)

// TestMain fails the package when a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newHost gives the test a state directory that does not exist yet, and a key.
func newHost(t *testing.T) (stateDir, key string) {
	stateDir = filepath.Join(t.TempDir(), "state")
	key = pool.NewKey().Text()
	t.Setenv("STATE_DIRECTORY", stateDir)
	t.Setenv("TUNNEL_KEY", key)
	return stateDir, key
}

func run(ctx context.Context, args ...string) (status int, out, errOut string) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // for what should not have started
	defer cancel()
	var stdout, stderr bytes.Buffer
	status = cli.Run(ctx, command(), args, &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

func TestWrongInput(t *testing.T) {
	const good = "--server host -R 8080:3000 "
	for args, want := range map[string]string{
		"":                                                "--server is missing",
		"-R 8080:3000":                                    "--server is missing",
		"--server host":                                   "nothing to publish: give at least one -R, as in -R 8080:3000",
		"--server= -R 8080:3000":                          "--server is empty",
		"--server host: -R 8080:3000":                     `--server: "host:" has no usable port`,
		"--server host:0 -R 8080:3000":                    `--server: "host:0" has no usable port`,
		"--server host:99999 -R 8080:3000":                `--server: "host:99999" has no usable port`,
		"--server :10101 -R 8080:3000":                    `--server: ":10101" names no host`,
		"--server http://host -R 8080:3000":               `--server: "http://host" is not HOST or HOST:PORT`,
		"--server a:b:1 -R 8080:3000":                     `--server: "a:b:1" is not HOST or HOST:PORT`,
		"--server host -R":                                "flag needs an argument: 'R' in -R",
		"--server host -R 3000":                           `-R "3000": the number of fields`,
		"--server host -R 8080:0":                         `-R "8080:0": the target port "0"`,
		"--server host -R 1:2 -R x":                       `-R "x": `,
		"--server host -R 1:2 -R 1:3":                     `-R "1:3": public port 1 is given twice`,
		"--server host -R a=1:2 -R b=1:3":                 `-R "b=1:3": public port 1 is given twice`,
		"--server host -R 1:2 -R ::1:1:h:3":               "-R ",
		"--server host -R [::1]:1:h:2 -R 127.0.0.1:1:h:2": `-R: "1" is there twice; give each service a name of its own`,
		"--server host -R a=[::1]:1:h:2 -R b=[::1]:1:h:3": "public port 1 is given twice",
		"--server host -R a=1:h:2 -R b=127.0.0.1:1:h:3":   "public port 1 is given twice",
		"--server host -R a=udp/1:h:2 -R b=udp/1:h:3":     "public port 1 is given twice",
		"--server host -R udp/1:h:2 --udp-idle web=5s":    `--udp-idle "web=5s": no -R is called "web"; there is "udp/1"`,
		good + "--udp-idle 5s":                            `--udp-idle "5s": it is for UDP, and no -R is one of udp/`,
		good + "word":                                     `unknown argument "word"; see --help`,
		good + "--nope":                                   "unknown flag: --nope; see --help",
		good + "--name=":                                  "--name is empty",
		good + "--name " + strings.Repeat("n", 65):        "--name: name of 65 bytes, the limit is 64",
		good + "--name a\x01b":                            "--name: name: control character",
		good + "--tls 3":                                  `--tls: unknown TLS mode "3"`,
		good + "--tls-ca x":                               "--tls-ca and --tls-name are for --tls 2; with --tls 1 nothing is verified",
		good + "--tls 0 --tls-name x":                     "--tls-ca and --tls-name are for --tls 2; with --tls 0",
		good + "--tls 2 --tls-ca nx":                      "--tls-ca: open nx: ",
		good + "--tls 2 --tls-ca main.go":                 "--tls-ca main.go holds no PEM certificate",
		good + "--tls-cert x":                             "--tls-cert and --tls-key go together",
		good + "--tls-cert x --tls-key y":                 "--tls-cert is for --tls 2; with --tls 1 nobody asks for it",
		good + "--tls 2 --tls-cert nx --tls-key y":        "--tls-cert nx, --tls-key y: open nx: ",
		good + "--key-file nx":                            "--key-file: ",
		good + "--key-file .":                             "--key-file: . is not a file",
		good + "--key-file=":                              "--key-file is empty",
		good + "--key-file main.go":                       "--key-file: main.go: malformed key",
		good + "--state-dir=":                             "--state-dir is empty",
		good + "--state-dir main.go":                      "--state-dir",
		good + "--pool-min 0":                             "--pool-min 0: want at least 1",
		good + "--pool-min x":                             `--pool-min: "x" is not a whole number`,
		good + "--pool-min 513":                           "--pool-max 512 is below --pool-min 513",
		good + "--pool-max 31":                            "--pool-max 31 is below --pool-min 32",
		good + "--pool-min-interval 0s":                   "--pool-min-interval 0s: want more than 0",
		good + "--pool-max-interval 1ms":                  "--pool-max-interval 1ms is below --pool-min-interval 100ms",
		good + "--pool-max-interval 1":                    `--pool-max-interval: "1" is not a time with its unit`,
		good + "--keepalive 0s":                           "--keepalive 0s: want more than 0",
		good + "--heartbeat -1s":                          "--heartbeat -1s: want more than 0",
		good + "--heartbeat 1h":                           "--heartbeat: 1h0m0s is not between 10ms and 10m0s",
		good + "--drain -1s":                              "--drain -1s: want 0 or more",
		good + "--allow-from 10.1.2.3/8":                  `--allow-from "10.1.2.3/8": 10.1.2.3/8 has bits behind its prefix; is 10.0.0.0/8 meant, or 10.1.2.3?`,
		good + "--allow-from wed=::/0":                    `--allow-from "wed=::/0": no -R is called "wed"; there is "8080"`,
		good + "--connect-timeout 5":                      `--connect-timeout "5": want a time of at least 1ms, as in 500ms or 5s`,
		good + "--connect-timeout web=5s":                 `--connect-timeout "web=5s": no -R is called "web"; there is "8080"`,
		good + "--health http:/a --health tcp":            `--health "tcp": there is one for all services already, "http:/a"; put SERVICE= in front`,
		good + "--health 8080=icmp":                       `--health "icmp": want "tcp" or "http:/PATH"`,
		good + "--health-interval 1ms":                    `--health-interval "1ms": want a time of at least 100ms`,
		good + "--health-interval 1s":                     `--health-interval "1s": no service has a --health`,
		good + "-R udp/53:53 --proxy-protocol v2":         `--proxy-protocol "v2": service "udp/53" is of UDP, which has none; put SERVICE= of another in front`,
		good + "-R udp/53:53 --health tcp":                `--health "tcp": service "udp/53" is of UDP, which has none; put SERVICE= of another in front`,
		good + "--proxy-protocol v3":                      `--proxy-protocol "v3": want "v1" or "v2"`,
		"--server host -R 8080:3000,":                     `-R "8080:3000,": the target port is empty`,
		good + "--group=":                                 `--group "": the name is missing`,
		good + "--group a=b=c":                            `--group "a=b=c": no -R is called "a"; there is `,
		good + "--group a\x01b":                           "-R: the group",
		good + "--rate 50":                                `--rate "50": "50" has no unit`,
		good + "--rate 4kbit":                             `--rate "4kbit": too little; want 8kbit at least`,
		good + "--max-streams-per-service 0":              `--max-streams-per-service "0": want a number, 1 at least`,
		good + "--max-streams-per-service nope=1":         `--max-streams-per-service "nope=1": no -R is called "nope"`,
		good + "--log-level loud":                         `--log-level "loud": want debug, info, warn, error or none`,
	} {
		t.Run(args, func(t *testing.T) {
			stateDir, key := newHost(t)
			status, out, errOut := run(context.Background(), strings.Fields(args)...)
			require.Equal(t, 2, status, errOut)
			require.Contains(t, errOut, want)
			require.True(t, strings.HasPrefix(errOut, "tunnel-client: "), errOut)
			require.Equal(t, 1, strings.Count(errOut, "\n"), errOut)
			require.Empty(t, out)
			require.NotContains(t, errOut, key)
			require.NoDirExists(t, stateDir, "nothing is made before everything is checked")
		})
	}
}

func TestWithoutKey(t *testing.T) {
	stateDir, _ := newHost(t)
	t.Setenv("TUNNEL_KEY", "")
	status, out, errOut := run(context.Background(), "--server", "host", "-R", "8080:3000")
	require.Equal(t, 2, status)
	for _, place := range []string{"--key-file", "TUNNEL_KEY", filepath.Join(stateDir, "key"), "tunnel-server key show"} {
		require.Contains(t, errOut, place)
	}
	require.Equal(t, 1, strings.Count(errOut, "\n"))
	require.Empty(t, out)
	require.NoDirExists(t, stateDir)
}

func TestKeyIsNotShown(t *testing.T) {
	_, key := newHost(t)
	good := []string{"--server", "host", "-R", "8080:3000"}
	for _, args := range [][]string{
		{key}, {"--key-file", key}, {"--key=" + key}, {"-k" + key}, {"-k=" + key}, {"-R", key}, {"TUNNEL_KEY=" + key},
		{"--tls", key}, {"--pool-min", key}, {"--log-level", key}, {"--rate", key}, {"--group", "x=" + key}, {"--max-streams-per-service", key}, {"--tls", "2", "--tls-ca", key},
	} {
		status, out, errOut := run(context.Background(), append(good, args...)...)
		require.Equal(t, 2, status, errOut)
		require.NotContains(t, out+errOut, key[:12])
	}
}

func TestPublishUntilStopped(t *testing.T) {
	stateDir, _ := newHost(t)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { // ends with ctx; the port is one where nothing answers
		status, _, _ := run(ctx, "--server", "127.0.0.1:1", "-R", "8080:3000", "--log-level", "none", "--drain", "0s")
		ended <- status
	}()
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(stateDir, "identity"))
		return err == nil || len(ended) > 0
	}, 10*time.Second, time.Millisecond)
	stop()
	require.Zero(t, <-ended)
}

func TestHelp(t *testing.T) {
	stateDir, _ := newHost(t)
	status, out, errOut := run(context.Background(), "--help")
	require.Zero(t, status)
	require.Empty(t, errOut)
	command().Flags().VisitAll(func(f *pflag.Flag) {
		require.Contains(t, out, "--"+f.Name+" ")
		require.NotEmpty(t, f.Usage)
	})
	require.Contains(t, out, "TUNNEL_KEY=… tunnel-client --server example.com -R 8080:3000")
	require.Contains(t, out, "[NAME=][udp/][BIND:]PORT:[HOST:]HOSTPORT")
	require.NoDirExists(t, stateDir)
}

func TestVersionAndCompletion(t *testing.T) {
	status, out, errOut := run(context.Background(), "--version")
	require.Zero(t, status)
	require.Empty(t, errOut)
	require.Equal(t, "tunnel-client "+cli.Version()+"\n", out)
	status, out, errOut = run(context.Background(), "completion", "bash")
	require.Zero(t, status)
	require.Empty(t, errOut)
	require.Contains(t, out, "__start_tunnel-client")
}
