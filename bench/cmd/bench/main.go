// Command bench measures tunnelpool beside direct TCP and beside a mux, and
// prints a table. See docs/PERFORMANCE.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tunnelpool/pool/bench/internal/trial"
)

func main() {
	if len(os.Args) > 1 && trial.IsRole(os.Args[1]) {
		if err := trial.Role(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

// flags are what the command line says.
type flags struct {
	rounds                     int
	quick, markdown            bool
	parts, columns, roundTrips string
	programs, against          string
}

func parse(args []string, stderr io.Writer) (flags, error) {
	var f flags
	fl := flag.NewFlagSet("bench", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.IntVar(&f.rounds, "rounds", 3, "interleaved `rounds`")
	fl.BoolVar(&f.quick, "quick", false, "short measurements, and one round unless -rounds is given")
	fl.StringVar(&f.parts, "parts", "", "`parts` to measure, as in rate,bulk (default: all but upload)")
	fl.StringVar(&f.columns, "columns", "direct,plain,tls,yamux", "`columns` to measure; the first is what shares are of")
	fl.StringVar(&f.roundTrips, "rtt", "0,40ms,150ms", "round `trips`; other than 0 needs root on Linux")
	fl.StringVar(&f.programs, "programs", "", "`directory` of built tunnel-server and tunnel-client (default: they are built)")
	fl.StringVar(&f.against, "against", "", "`NAME=DIR` of other builds of the two, for more columns")
	fl.BoolVar(&f.markdown, "markdown", false, "print Markdown")
	fl.Usage = func() {
		fmt.Fprintln(stderr, "Measures tunnelpool beside direct TCP and a mux. Flags:")
		fl.PrintDefaults()
		fmt.Fprintln(stderr, "Parts:")
		for _, p := range trial.Parts() {
			fmt.Fprintf(stderr, "  %-8s %s\n", p.Name, p.What)
		}
	}
	if err := fl.Parse(args); err != nil {
		return f, err
	}
	if fl.NArg() > 0 {
		return f, fmt.Errorf("unknown argument %q; see -help", fl.Arg(0))
	}
	if f.rounds < 1 {
		return f, fmt.Errorf("-rounds %d: want at least 1", f.rounds)
	}
	if f.quick && !given(fl, "rounds") {
		f.rounds = 1
	}
	return f, nil
}

// given reports whether a flag was set.
func given(fl *flag.FlagSet, name string) (set bool) {
	fl.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

func run(args []string, stdout, stderr io.Writer) error {
	f, err := parse(args, stderr)
	if err != nil {
		return err
	}
	t := &trial.Trial{Rounds: f.rounds, Quick: f.quick}
	t.Progress = func(format string, args ...any) {
		fmt.Fprintf(stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
	}
	if t.Parts, err = chosen(f.parts); err != nil {
		return err
	}
	if t.RoundTrips, err = roundTrips(f.roundTrips); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	// The processes of the trial end with this one.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	defer context.AfterFunc(ctx, func() {
		os.RemoveAll(scratch)
		os.Exit(1)
	})()
	built := filepath.Join(scratch, "bin")
	if f.programs != "" {
		built = f.programs
	}
	if t.Contestants, err = contestants(f.columns, built, f.against, scratch); err != nil {
		return err
	}
	if f.programs == "" {
		if err := build(built); err != nil {
			return err
		}
	}
	trial.RaiseLimits()
	before, begun := trial.Machine(), time.Now()
	t.Run()
	fmt.Fprintf(stdout, "%s before; rounds: %d; took %v\n", before, t.Rounds, time.Since(begun).Round(time.Second))
	fmt.Fprintln(stdout, "Median (lowest–highest of the rounds); × is the ratio to the first column in the same round.")
	if f.markdown {
		t.Sheet.Markdown(stdout)
	} else {
		t.Sheet.Text(stdout)
	}
	return nil
}

func roundTrips(text string) (all []time.Duration, err error) {
	for one := range strings.SplitSeq(text, ",") {
		rtt, err := time.ParseDuration(one)
		if err != nil || rtt < 0 {
			return nil, fmt.Errorf("-rtt %q: want round trips as in 0,40ms", text)
		}
		all = append(all, rtt)
	}
	return all, nil
}

// chosen tells which parts are to be measured.
func chosen(only string) (func(string) bool, error) {
	if only == "" {
		return func(name string) bool { return name != "upload" }, nil
	}
	names := strings.Split(only, ",")
	for _, name := range names {
		if !slices.ContainsFunc(trial.Parts(), func(p trial.Part) bool { return p.Name == name }) {
			return nil, fmt.Errorf("-parts %q: there is no part %q; see -help", only, name)
		}
	}
	return func(name string) bool { return slices.Contains(names, name) }, nil
}

func contestants(columns, programs, against, scratch string) ([]trial.Contestant, error) {
	other, dir, _ := strings.Cut(against, "=")
	if against != "" && dir == "" {
		return nil, fmt.Errorf("-against %q: want NAME=DIR", against)
	}
	var all []trial.Contestant
	pair := func(name, mode string) {
		all = append(all, trial.Tunnelpool(name, programs, mode, scratch))
		if dir != "" {
			all = append(all, trial.Tunnelpool(other+": "+name, dir, mode, scratch))
		}
	}
	for column := range strings.SplitSeq(columns, ",") {
		switch column {
		case "direct":
			all = append(all, trial.Direct())
		case "plain":
			pair("tunnelpool plain", "0")
		case "tls":
			pair("tunnelpool TLS", "1")
		case "yamux":
			all = append(all, trial.Mux())
		default:
			return nil, fmt.Errorf("-columns: there is no column %q: want some of direct, plain, tls, yamux", column)
		}
	}
	return all, nil
}

// build builds both programs from the repository into dir.
func build(dir string) error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tunnelpool/pool").Output()
	if err != nil {
		return fmt.Errorf("find the repository (run this in its directory bench): %w", err)
	}
	c := exec.Command("go", "build", "-C", strings.TrimSpace(string(root)), "-o", dir+string(filepath.Separator), "./cmd/tunnel-server", "./cmd/tunnel-client")
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	return nil
}
