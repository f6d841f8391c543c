// Command ssh runs commands on another machine over pooled SSH connections:
//
//	go -C examples/ssh run . HOST uptime
//	go -C examples/ssh run . --times 20 --connections 5 HOST uptime
//
// It shows a single-ended pool of connections that something is built on: Setup
// makes an *ssh.Client of each connection and checks the host's key, SetValue
// keeps it there, Check asks whether the other side still answers, and every
// holder finds it by pool.ValueOf. A command that fails keeps its connection
// (pool.Keep); one that takes too long is killed and loses it, and no other
// command notices. client.go is what to copy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tunnelpool/pool"
)

const usage = `Usage: ssh [flags] HOST[:22] COMMAND…

Runs the command there, and ends with its exit status.

  --user NAME         default: yours
  --key FILE          a private key without passphrase; default: ~/.ssh/id_ed25519, id_ecdsa or id_rsa
  --known-hosts FILE  where the host's key is; default: ~/.ssh/known_hosts
  --timeout TIME      ends a command that takes longer; default 1m
  --times N           run it so often at once, and show how long each took instead of what it says
  --connections N     over at most so many connections; default 5
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command; it returns the exit status: that of the other machine's
// command, 1 for what failed on the way there, 2 for what was asked wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	j, err := parseArgs(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "ssh: %v (--help says more)\n", err)
		return 2
	}
	err = j.do(ctx, stdout, stderr)
	var failed *ssh.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failed) && failed.ExitStatus() != 0:
		return failed.ExitStatus() // it has said itself why
	}
	fmt.Fprintf(stderr, "ssh: %v\n", err)
	return 1
}

// job is what the command line asks for.
type job struct {
	config
	command
	times int
}

func parseArgs(args []string) (*job, error) {
	j := new(job)
	home, _ := os.UserHomeDir()
	flags := flag.NewFlagSet("ssh", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&j.user, "user", "", "")
	keyFile := flags.String("key", "", "")
	flags.StringVar(&j.knownHosts, "known-hosts", filepath.Join(home, ".ssh", "known_hosts"), "")
	flags.DurationVar(&j.timeout, "timeout", time.Minute, "")
	flags.IntVar(&j.times, "times", 1, "")
	flags.IntVar(&j.connections, "connections", 5, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() < 2:
		return nil, errors.New("a host and a command are needed")
	case j.times < 1 || j.times > 1000:
		return nil, errors.New("--times must be 1 to 1000")
	case j.connections < 1 || j.timeout <= 0:
		return nil, errors.New("--connections and --timeout must be positive")
	}
	j.connections = min(j.connections, j.times)
	j.wait = time.Duration(j.times) * j.timeout // after which every other command is at its end
	j.address, j.line = flags.Arg(0), strings.Join(flags.Args()[1:], " ")
	if _, _, err := net.SplitHostPort(j.address); err != nil {
		j.address = net.JoinHostPort(strings.Trim(j.address, "[]"), "22")
	}
	if j.user == "" {
		me, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("--user is needed: %w", err)
		}
		j.user = me.Username
	}
	var err error
	j.key, err = readKey(*keyFile, filepath.Join(home, ".ssh"))
	return j, err
}

// readKey reads the private key in a file, or the usual one in dir.
func readKey(file, dir string) (ssh.Signer, error) {
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if usual := filepath.Join(dir, name); file == "" {
			if _, err := os.Stat(usual); err == nil {
				file = usual
			}
		}
	}
	if file == "" {
		return nil, fmt.Errorf("--key is needed: there is none in %s", dir)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("--key %s: %w", file, err)
	}
	return key, nil
}

// impatient returns a context that ends when the first attempt to connect fails:
// the pool would go on trying, but who typed the command wants to know. The
// function is the pool's OnConn.
func impatient(ctx context.Context) (context.Context, func(pool.ConnEvent)) {
	ctx, giveUp := context.WithCancelCause(ctx)
	var connected atomic.Bool
	return ctx, func(e pool.ConnEvent) {
		switch e.Kind {
		case pool.ConnCreated:
			connected.Store(true)
		case pool.ConnFailed:
			if !connected.Load() {
				giveUp(e.Err)
			}
		}
	}
}

func (j *job) do(ctx context.Context, stdout, stderr io.Writer) error {
	ctx, j.onConn = impatient(ctx)
	p, err := newPool(j.config)
	if err != nil {
		return err
	}
	defer p.Close()
	if j.times == 1 {
		j.stdout, j.stderr = stdout, stderr
		return j.command.run(ctx, p).err
	}
	return j.many(ctx, p, stdout)
}

// many runs the command many times at once: the pool sees to it that no more
// connections than its bound are used. It prints what became of each.
func (j *job) many(ctx context.Context, p *pool.Pool, stdout io.Writer) error {
	began := time.Now()
	results := make([]result, j.times)
	var running sync.WaitGroup
	for i := range results {
		running.Go(func() { results[i] = j.command.run(ctx, p) })
	}
	running.Wait()
	took := time.Since(began)

	connections := make(map[string]bool)
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\tconnection\twaited\ttook\t\n")
	var failed error
	for i, r := range results {
		connections[r.connection] = true
		outcome := ""
		if r.err != nil {
			failed, outcome = r.err, "  "+r.err.Error()
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", i+1, r.connection, milliseconds(r.waited), milliseconds(r.took), outcome)
	}
	table.Flush()
	fmt.Fprintf(stdout, "%d commands over %d connections in %s\n", j.times, len(connections), milliseconds(took))
	return failed
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
