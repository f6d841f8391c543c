// Command cmd holds the trial of the rule by which a client pool dials, and
// prints its tables. See docs/ADAPTATION.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/tunnelpool/pool/internal/trial"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(2)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	var setup trial.Setup
	flags := flag.NewFlagSet("trial", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("write", "", "write plots and tables into the documents in `DIR`")
	flags.DurationVar(&setup.RoundTrip, "rtt", 0, "round trip (default 40ms)")
	flags.IntVar(&setup.Seeds, "stories", 0, "stories told per trace (default 3)")
	flags.Uint64Var(&setup.FirstSeed, "seed", 0, "the first story's seed (default 0)")
	flags.Float64Var(&setup.Scale, "scale", 0, "multiply all rates of arrival (default 1)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if setup.RoundTrip < 0 || setup.Seeds < 0 || setup.Scale < 0 {
		return errors.New("-rtt, -stories and -scale must not be negative")
	}
	report := trial.Run(setup)
	if *dir != "" {
		return report.Write(*dir)
	}
	_, err := io.WriteString(stdout, report.Tables())
	return err
}
