// Command redis sends commands to a Redis server over pooled connections, and
// prints the replies. It shows a pool with all three hooks: each connection logs
// in once (AUTH, SELECT), is proven alive while it idles (PING), and takes leave
// (QUIT). An error reply leaves the connection in order; a late or broken reply
// ends it. Commands that would change the connection for its next user are
// refused.
//
//	go run ./examples/redis PING
//	go run ./examples/redis --server db.example:6379 SET greeting "hello, world"
//	go run ./examples/redis --times 10000 --connections 8 INCR counter
//
// The pool is set up by flags or by variables that begin with REDIS_POOL_, as
// REDIS_POOL_ADDRESS, REDIS_POOL_TLS and REDIS_POOL_MAX_AGE; docs/ENVIRONMENT.md
// has them all. A password comes from a file (--password-file) or from
// REDISCLI_AUTH, as for redis-cli, and never stands on a command line.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tunnelpool/pool"
)

const usage = `usage: redis [flags] COMMAND [ARGUMENT ...]

A password is read from --password-file or REDISCLI_AUTH. Variables that begin with
REDIS_POOL_ set the pool up, as docs/ENVIRONMENT.md says; flags go before them.

flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command. It returns the exit status: 1 for a command that failed,
// 2 for a command line or an environment that is wrong.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	job, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "redis: %v\n", err)
		return 2
	}
	if err := job.do(ctx, stdout); err != nil {
		fmt.Fprintf(stderr, "redis: %v\n", err)
		return 1
	}
	return 0
}

// job is what the command line asks for.
type job struct {
	pool    pool.LocalConfig
	login   Login
	timeout time.Duration
	times   int
	command []string
}

// parse reads the command line and the environment; help goes to stdout.
func parse(args []string, stdout io.Writer) (*job, error) {
	j := new(job)
	flags := flag.NewFlagSet("redis", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	server := flags.String("server", "", "the server's `HOST:PORT` (default 127.0.0.1:6379)")
	connections := flags.Int("connections", 0, "have at most `N` connections, and with --times as many users (default 10)")
	passwordFile := flags.String("password-file", "", "the `FILE` with the password")
	flags.StringVar(&j.login.User, "user", "", "the `NAME` that goes with the password")
	flags.IntVar(&j.login.DB, "db", 0, "the number of the database")
	flags.DurationVar(&j.timeout, "timeout", 5*time.Second, "how long a connection, and then a reply, may take to come")
	flags.IntVar(&j.times, "times", 1, "send the command `N` times, from several users at once")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, usage)
			flags.SetOutput(stdout)
			flags.PrintDefaults()
			return nil, err
		}
		return nil, fmt.Errorf("%w; --help shows what there is", err)
	}
	if j.times <= 0 || j.timeout <= 0 || *connections < 0 || j.login.DB < 0 {
		return nil, errors.New("--times and --timeout are above 0, --connections and --db are not below")
	}
	j.command = flags.Args()
	if err := shareable(j.command); err != nil {
		return nil, err
	}
	var err error
	if j.login.Password, err = password(*passwordFile); err != nil {
		return nil, err
	}
	if j.login.User != "" && j.login.Password == "" {
		return nil, errors.New("--user goes with a password: see --password-file")
	}
	if j.pool, err = pool.ConfigFromEnv("REDIS_POOL"); err != nil {
		return nil, err
	}
	j.pool.Address = cmp.Or(*server, j.pool.Address, "127.0.0.1:6379")
	if _, _, err := net.SplitHostPort(j.pool.Address); err != nil && j.pool.Network != "unix" {
		return nil, fmt.Errorf("--server %q is not HOST:PORT", j.pool.Address)
	}
	j.pool.MaxOpen = cmp.Or(*connections, j.pool.MaxOpen, 10)
	j.pool.ConnectTimeout = cmp.Or(j.pool.ConnectTimeout, j.timeout)
	j.pool.AcquireTimeout = cmp.Or(j.pool.AcquireTimeout, j.timeout)
	return j, nil
}

// password reads a file's first line, or the environment.
func password(file string) (string, error) {
	if file == "" {
		return os.Getenv("REDISCLI_AUTH"), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("--password-file %s is empty", file)
	}
	return line, nil
}

// do sends the command, as often as wanted.
func (j *job) do(ctx context.Context, stdout io.Writer) error {
	client, err := NewClient(j.pool, j.login, j.timeout)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Reach(ctx); err != nil {
		return err
	}
	if j.times == 1 {
		reply, err := client.Do(ctx, j.command...)
		if err == nil {
			show(stdout, reply, "")
		}
		return err
	}
	began := time.Now()
	if err := client.many(ctx, j.times, max(j.pool.MaxOpen, 1), j.command); err != nil {
		return err
	}
	took := time.Since(began)
	_, err = fmt.Fprintf(stdout, "%d replies in %v, %.0f a second, over at most %d connections\n",
		j.times, took.Round(time.Millisecond), float64(j.times)/took.Seconds(), j.pool.MaxOpen)
	return err
}

// many sends a command n times, from so many users at once, until one fails.
func (c *Client) many(ctx context.Context, n, users int, command []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range users {
		wg.Go(func() {
			for sent.Add(1) <= int64(n) {
				if _, err := c.Do(ctx, command...); err != nil {
					cancel(err) // the first is the one that is told, and ends the others
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// show prints a reply as redis-cli does on a terminal.
func show(w io.Writer, reply any, indent string) {
	switch v := reply.(type) {
	case nil:
		fmt.Fprintln(w, "(nil)")
	case int64:
		fmt.Fprintf(w, "(integer) %d\n", v)
	case []byte:
		fmt.Fprintf(w, "%q\n", v)
	case Error:
		fmt.Fprintf(w, "(error) %q\n", string(v))
	case string:
		fmt.Fprintln(w, strings.Trim(fmt.Sprintf("%q", v), `"`))
	case []any:
		if len(v) == 0 {
			fmt.Fprintln(w, "(empty array)")
		}
		for i, item := range v {
			number := fmt.Sprintf("%d) ", i+1)
			if i > 0 {
				fmt.Fprint(w, indent)
			}
			fmt.Fprint(w, number)
			show(w, item, indent+strings.Repeat(" ", len(number)))
		}
	}
}
