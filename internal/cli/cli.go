// Package cli is what both commands share: exit statuses, version, logger and
// signals. The commands themselves are flags and one call.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/tunnelpool/pool/internal/logging"
	"github.com/tunnelpool/pool/internal/redact"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/internal/spelling"
	"github.com/tunnelpool/pool/tunnel"
)

// Exit statuses.
const (
	exitFailure = 1 // it ran, and failed
	exitUsage   = 2 // nothing was started
)

// usageError is a mistake on the command line or in what it names.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// Usage marks err as a mistake of the caller's: the program exits 2 and has
// started nothing.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Usagef is Usage of a formatted error.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Main runs a command tree until it ends or a signal stops it, and returns the
// exit status. The first SIGINT or SIGTERM ends the commands' context; a second
// one kills the process, because the handler is gone by then.
func Main(root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(ctx, root, args, stdout, stderr)
}

// Run is Main without signals, for tests.
func Run(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	// Cobra's own two commands are made now, so that they learn the same manners.
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	teach(root)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	err = settings.From(c.Context()).Explain(err)
	fmt.Fprintf(stderr, "%s: %s%s\n", root.Name(), Line(err), remedy(err))
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// remedy is what the person can do about a file that the user may not open.
func remedy(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) && errors.Is(at.Err, fs.ErrPermission) {
		return "; run this as the user whose it is, or as root"
	}
	return ""
}

// ConfigError marks a rejected configuration as a mistake of the caller's, and
// names the flag where the error names a field.
func ConfigError(err error, flags map[string]string) error {
	var field *tunnel.ConfigError
	if errors.As(err, &field) && flags[field.Field] != "" {
		return Usagef("%s: %w", flags[field.Field], field.Err)
	}
	return Usage(err)
}

// Line is an error in one line, without keys.
func Line(err error) string {
	return redact.Keys(strings.Join(strings.Fields(err.Error()), " "))
}

// Configure gives a command tree the manners of this project, with [Run]: one
// line per mistake, status 2, a version, no surprise arguments, and flags whose
// values may stand in the environment and in a file. The root's flags are these
// settings; see [settings.Load].
func Configure(root *cobra.Command) {
	root.Version = Version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.PersistentFlags().String(settings.ConfigFlag, "", settings.ConfigUsage)
	settings.Files(root.PersistentFlags(), settings.ConfigFlag)
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if cobrasOwn(c) || c.HasParent() && c.HasSubCommands() { // which shows what it holds
			return nil
		}
		s, err := settings.Load(c.Flags(), root.Flags())
		if err != nil {
			return Usage(err)
		}
		c.SetContext(s.Into(c.Context()))
		return nil
	}
}

// teach gives a command and those below it our manners.
func teach(c *cobra.Command) {
	c.SetFlagErrorFunc(flagError)
	c.Flags().SortFlags = false
	if c.Args == nil || cobrasOwn(c) {
		c.Args = Arguments(0, 0)
	}
	if c.Name() == "help" {
		c.Args = helpTopic
	}
	if !c.Runnable() { // a group: on its own it shows what it holds
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	completeFlags(c)
	for _, sub := range c.Commands() {
		teach(sub)
	}
}

// flagError puts a mistake with a flag as one with a variable or a line of the file
// is put, and knows which one was probably meant.
func flagError(c *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		if wrong := settings.Check(invalid.GetFlag(), invalid.GetValue()); wrong != nil {
			return Usagef("--%s: %w", invalid.GetFlag().Name, wrong)
		}
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := meant(unknown.GetSpecifiedName(), names); near != "" {
			return Usagef("%w; did you mean --%s?", err, near)
		}
	}
	return Usagef("%w; see --help", err)
}

// cobrasOwn tells the commands that cobra adds, which count arguments in a manner
// of their own.
func cobrasOwn(c *cobra.Command) bool {
	for ; c != nil; c = c.Parent() {
		if name := c.Name(); name == "completion" || name == "help" || name == cobra.ShellCompRequestCmd {
			return true
		}
	}
	return false
}

// Arguments takes that many, and no flag that was given an empty value: that is
// a shell variable without one far more often than a wish for the default.
// Commands that say nothing else take none.
func Arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) > most:
			if near := meant(args[most], below(c)); most == 0 && near != "" {
				return Usagef("unknown command %q; did you mean %q?", args[most], near)
			}
			return Usagef("unknown argument %q; see --help", args[most])
		case len(args) < least:
			return Usagef("an argument is missing: %s; see --help", c.UseLine())
		}
		return noEmptyFlag(c)
	}
}

// meant is the name that a word is a slip of, or "". Names here are short.
func meant(word string, names []string) string { return spelling.Nearest(word, names, 1+len(word)/8) }

// below are the names of a command's own commands.
func below(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return names
}

func noEmptyFlag(c *cobra.Command) error {
	var err error
	c.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.Type() == "string" && f.Value.String() == "" {
			err = Usagef("--%s is empty: give it a value, or leave it out", f.Name)
		}
	})
	return err
}

func helpTopic(c *cobra.Command, args []string) error {
	if _, rest, err := c.Root().Find(args); err != nil || len(rest) > 0 {
		return Usagef("no help on %q; see --help", strings.Join(args, " "))
	}
	return nil
}

// Count writes a number of things that are one or several.
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// What --log-level and --log-format take.
const (
	Levels  = logging.Levels
	Formats = logging.Formats
)

// Logger makes the logger that --log-level and --log-format ask for. It writes
// to standard output, coloured where [Colors] says so.
func Logger(level, format string) (*logging.Logger, error) {
	l, err := logging.New(logging.Options{Level: level, Format: format, Terminal: Obeys(os.Stdout), Color: Colors(os.Stdout)})
	return l, Usage(err)
}

// IsTerminal reports whether a person reads what is written there.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Obeys reports whether a terminal is there that does what it is told: moves its
// cursor, writes over a line.
func Obeys(w io.Writer) bool { return IsTerminal(w) && os.Getenv("TERM") != "dumb" }

// Colors reports whether what is written there may be coloured.
func Colors(w io.Writer) bool { return Obeys(w) && os.Getenv("NO_COLOR") == "" }
