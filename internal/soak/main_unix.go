//go:build unix

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command: 0 when all is well, 1 when something is wrong, 2 for
// wrong arguments.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	fs := flag.NewFlagSet("soak", flag.ContinueOnError)
	fs.SetOutput(errOut)
	lasting := fs.Duration("for", time.Minute, "how long")
	seed := fs.Uint64("seed", 0, "what users and faults are drawn from (0: a random one, which is printed)")
	users := fs.Int("users", 40, "users at a time")
	tlsMode := fs.String("tls", "1", "TLS mode, 0 or 1")
	connections := fs.Int("connections", 0, "instead: open so many user connections at once")
	target := fs.Bool("echo", false, "be the target of another soak's -connections")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if *target {
		if err := echo(os.Stdin, out); err != nil {
			fmt.Fprintln(errOut, "soak:", err)
			return 1
		}
		return 0
	}
	if fs.NArg() > 0 || *lasting < time.Second || *users < 1 || *connections < 0 || (*tlsMode != "0" && *tlsMode != "1") {
		fmt.Fprintln(errOut, "soak: want -for of at least 1s, -users of at least 1, -tls 0 or 1, and no arguments")
		return 2
	}
	dir, err := os.MkdirTemp("", "tunnelpool-soak-")
	if err != nil {
		fmt.Fprintln(errOut, "soak:", err)
		return 1
	}
	o := options{lasting: *lasting, seed: *seed, users: *users, tlsMode: *tlsMode, dir: dir, out: out}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	var wrongs []string
	if *connections > 0 {
		wrongs, err = crowd(ctx, o, *connections)
	} else {
		fmt.Fprintf(out, "seed %d\n", o.seed)
		var r *report
		if r, wrongs, err = soak(ctx, o); err == nil {
			r.print(out)
		}
	}
	if err != nil {
		wrongs = append(wrongs, err.Error())
	}
	if len(wrongs) == 0 {
		os.RemoveAll(dir)
		fmt.Fprintln(out, "\nnothing is wrong")
		return 0
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	more, _ := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	for _, log := range append(logs, more...) {
		fmt.Fprintf(errOut, "\nthe end of %s:\n%s\n", log, (&program{log: log}).tail(30))
	}
	fmt.Fprintf(errOut, "\nWRONG (seed %d; the logs are in %s):\n", o.seed, dir)
	for _, w := range wrongs {
		fmt.Fprintln(errOut, " -", w)
	}
	return 1
}
