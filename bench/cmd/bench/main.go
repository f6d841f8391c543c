// Command bench measures tunnelpool beside direct TCP and beside a mux, and
// prints a table. See docs/PERFORMANCE.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
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
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fl := flag.NewFlagSet("bench", flag.ExitOnError)
	rounds := fl.Int("rounds", 3, "interleaved rounds")
	quick := fl.Bool("quick", false, "one short round")
	only := fl.String("parts", "", "parts to measure, as in rate,bulk (default: all but upload)")
	columns := fl.String("columns", "", "columns to measure, as in direct,tls (default: direct,plain,tls,yamux)")
	rtts := fl.String("rtt", "0,40ms,150ms", "round trips")
	programs := fl.String("programs", "", "directory of built tunnel-server and tunnel-client (default: they are built)")
	against := fl.String("against", "", "NAME=DIR of other builds of both programs, for more columns")
	markdown := fl.Bool("markdown", false, "print Markdown")
	fl.Usage = func() {
		fmt.Fprintln(fl.Output(), "Measures tunnelpool beside direct TCP and a mux. Flags:")
		fl.PrintDefaults()
		fmt.Fprintln(fl.Output(), "Parts:")
		for _, p := range trial.Parts() {
			fmt.Fprintf(fl.Output(), "  %-8s %s\n", p.Name, p.What)
		}
	}
	_ = fl.Parse(args) // ExitOnError

	t := &trial.Trial{Rounds: *rounds, Quick: *quick}
	if *quick && !given(fl, "rounds") {
		t.Rounds = 1
	}
	t.Progress = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
	}
	var err error
	if t.Parts, err = chosen(*only); err != nil {
		return err
	}
	for text := range strings.SplitSeq(*rtts, ",") {
		rtt, err := time.ParseDuration(text)
		if err != nil || rtt < 0 {
			return fmt.Errorf("-rtt %q: want round trips as in 0,40ms", *rtts)
		}
		t.RoundTrips = append(t.RoundTrips, rtt)
	}
	scratch, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if *programs == "" {
		*programs = filepath.Join(scratch, "bin")
		if err := build(*programs); err != nil {
			return err
		}
	}
	if t.Contestants, err = contestants(*columns, *programs, *against, scratch); err != nil {
		return err
	}
	trial.RaiseLimits()
	begun := time.Now()
	t.Run()
	fmt.Printf("%s, %d rounds in %v\n", trial.Machine(), t.Rounds, time.Since(begun).Round(time.Second))
	fmt.Println("median (lowest–highest of the rounds), × is the share of direct in the same round")
	if *markdown {
		t.Sheet.Markdown(os.Stdout)
	} else {
		t.Sheet.Text(os.Stdout)
	}
	return nil
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
	if columns == "" {
		columns = "direct,plain,tls,yamux"
	}
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

// given reports whether a flag was set.
func given(fl *flag.FlagSet, name string) (set bool) {
	fl.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}
