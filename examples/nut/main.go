// Command nut asks upsd, the server of Network UPS Tools, what a UPS says of
// itself:
//
//	go run ./examples/nut [--server HOST[:3493]] UPS [VARIABLE…]
//	go run ./examples/nut --watch 5s UPS ups.status battery.charge
//	go run ./examples/nut --watch 5s --login --user U --password-file F UPS
//
// It shows a single-ended pool of connections to a server that knows nothing of
// pools: what each goes through once (Setup), how an idle one is kept alive and
// proven to be (Check), how leave is taken (Goodbye); that an answer "ERR …" is
// no reason to close a connection (pool.Keep), while one that is cut or
// malformed is; and that a log-in, which is a property of its connection, has
// one of its own (Fresh), that nobody else ever gets. client.go is what to copy;
// protocol.go reads what upsd says, and believes nothing.
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
	"strings"
	"sync"
	"syscall"
	"time"
)

const usage = `Usage: nut [flags] UPS [VARIABLE…]

Prints the UPS's variables, or those named.

  --server HOST[:3493]   upsd; default localhost
  --user NAME            log in as this user of upsd.users
  --password-file FILE   with the password that FILE holds
  --watch TIME           ask again each TIME (5s, 1m), until interrupted
  --login                count as one whom the UPS feeds, while watching
`

// maxWatchingLogin is below the minute after which upsd ends a silent session.
const maxWatchingLogin = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command; it returns the exit status: 1 for what failed, 2 for what
// was asked wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	j, err := parseArgs(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "nut: %v (--help says more)\n", err)
		return 2
	}
	j.stdout, j.stderr = stdout, stderr
	if err := j.do(ctx); err != nil {
		fmt.Fprintf(stderr, "nut: %v\n", err)
		return 1
	}
	return 0
}

// job is what the command line asks for.
type job struct {
	config
	ups       string
	variables []string
	watch     time.Duration // 0: once
	login     bool

	stdout, stderr io.Writer
}

func parseArgs(args []string) (*job, error) {
	j := &job{config: config{connections: 4}}
	flags := flag.NewFlagSet("nut", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	server := flags.String("server", "localhost", "")
	flags.StringVar(&j.user, "user", "", "")
	passwordFile := flags.String("password-file", "", "")
	flags.DurationVar(&j.watch, "watch", 0, "")
	flags.BoolVar(&j.login, "login", false, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	j.server = *server
	if _, _, err := net.SplitHostPort(j.server); err != nil {
		j.server = net.JoinHostPort(strings.Trim(j.server, "[]"), "3493")
	}
	switch {
	case flags.NArg() == 0:
		return nil, errors.New("which UPS? its name is missing")
	case j.watch < 0:
		return nil, errors.New("--watch must not be negative")
	case j.login && (j.watch == 0 || j.watch > maxWatchingLogin):
		return nil, fmt.Errorf("--login needs --watch, of %v at most: a log-in lasts while upsd hears of it", maxWatchingLogin)
	case (j.user == "") != (*passwordFile == ""):
		return nil, errors.New("--user and --password-file need each other")
	}
	j.ups, j.variables = flags.Arg(0), flags.Args()[1:]
	if *passwordFile != "" {
		password, err := os.ReadFile(*passwordFile)
		if err != nil {
			return nil, fmt.Errorf("--password-file: %w", err)
		}
		j.password = strings.TrimRight(string(password), "\r\n")
	}
	return j, nil
}

func (j *job) do(ctx context.Context) error {
	j.connections = min(j.connections, max(len(j.variables), 1))
	c, err := newClient(j.config)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Reach(ctx); err != nil {
		return err
	}
	if j.watch > 0 {
		return j.follow(ctx, c)
	}
	return j.show(ctx, c, "")
}

// show prints the variables, which are asked for all at once: the pool sees to it
// that no more connections than its bound are used.
func (j *job) show(ctx context.Context, c *client, prefix string) error {
	if len(j.variables) == 0 {
		all, err := c.Vars(ctx, j.ups)
		for _, v := range all {
			fmt.Fprintf(j.stdout, "%s%s: %s\n", prefix, printable(v.name), printable(v.value))
		}
		return err
	}
	values, errs := make([]string, len(j.variables)), make([]error, len(j.variables))
	var asking sync.WaitGroup
	for i, name := range j.variables {
		asking.Go(func() { values[i], errs[i] = c.Var(ctx, j.ups, name) })
	}
	asking.Wait()
	for i, name := range j.variables {
		if errs[i] != nil {
			return fmt.Errorf("%s of %s: %w", name, j.ups, errs[i])
		}
		fmt.Fprintf(j.stdout, "%s%s: %s\n", prefix, name, printable(values[i]))
	}
	return nil
}

// follow shows the variables again and again until ctx ends, and logs in if that
// is asked for. What fails at first is a mistake; later it is said, and tried again.
func (j *job) follow(ctx context.Context, c *client) error {
	var session *login
	defer func() {
		if session != nil {
			session.Close()
		}
	}()
	tick := time.NewTicker(j.watch)
	defer tick.Stop()
	for first := true; ; first = false {
		now := time.Now().Format("15:04:05 ")
		err := j.show(ctx, c, now)
		if err == nil && j.login {
			session, err = j.stayLoggedIn(ctx, c, session, now)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			fmt.Fprintf(j.stderr, "nut: %s%v\n", now, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// stayLoggedIn logs in, or uses the log-in, and prints how many are.
func (j *job) stayLoggedIn(ctx context.Context, c *client, session *login, prefix string) (*login, error) {
	var err error
	if session == nil {
		if session, err = c.Login(ctx, j.ups); err != nil {
			return nil, err
		}
	}
	n, err := session.Count(ctx)
	if err != nil {
		session.Close()
		return nil, err
	}
	fmt.Fprintf(j.stdout, "%slogged in at %s, as one of %d\n", prefix, j.ups, n)
	return session, nil
}
