package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/redact"
	"github.com/tunnelpool/pool/tunnel"
)

// tree is a command tree like those of the programs.
func tree(run func(*cobra.Command) error) *cobra.Command {
	root := &cobra.Command{Use: "prog", RunE: func(c *cobra.Command, _ []string) error { return run(c) }}
	root.Flags().String("name", "x", "a name")
	root.Flags().Int("number", 1, "a number")
	group := &cobra.Command{Use: "group", Short: "A group"}
	leaf := &cobra.Command{Use: "leaf", Short: "A leaf", RunE: func(c *cobra.Command, _ []string) error { return run(c) }}
	leaf.Flags().String("place", "", "a place")
	group.AddCommand(leaf)
	root.AddCommand(group)
	Configure(root)
	return root
}

// outcome is what a run of a tree left.
type outcome struct {
	status      int
	out, errOut string
	ran         bool
}

func runTree(result error, args ...string) (o outcome) {
	var out, errOut bytes.Buffer
	o.status = Run(context.Background(), tree(func(*cobra.Command) error { o.ran = true; return result }), args, &out, &errOut)
	o.out, o.errOut = out.String(), errOut.String()
	return o
}

func TestStatus(t *testing.T) {
	bind := &tunnel.ConfigError{Field: "Bind", Err: errors.New("odd")}
	for what, c := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"success":             {nil, 0, ""},
		"failure":             {errors.New("it broke"), 1, "prog: it broke\n"},
		"mistake":             {Usage(errors.New("bad flag")), 2, "prog: bad flag\n"},
		"mistake, wrapped":    {fmt.Errorf("while: %w", Usagef("bad %d", 7)), 2, "prog: while: bad 7\n"},
		"no mistake":          {Usage(nil), 0, ""},
		"several lines":       {errors.Join(errors.New("one"), errors.New("two\n\tthree")), 1, "prog: one two three\n"},
		"a field with a flag": {ConfigError(fmt.Errorf("x: %w", bind), map[string]string{"Bind": "--bind"}), 2, "prog: --bind: odd\n"},
		"a field without one": {ConfigError(bind, nil), 2, "prog: tunnel: Bind: odd\n"},
		"a file of another's": {Usage(fmt.Errorf("read: %w", &fs.PathError{Op: "open", Path: "key", Err: fs.ErrPermission})), 2, "prog: read: open key: permission denied; run this as the user whose it is, or as root\n"},
		"no field":            {ConfigError(errors.New("odd"), map[string]string{"": "--x"}), 2, "prog: odd\n"},
	} {
		t.Run(what, func(t *testing.T) {
			o := runTree(c.err)
			require.True(t, o.ran)
			require.Equal(t, c.status, o.status)
			require.Equal(t, c.text, o.errOut)
			require.Empty(t, o.out)
		})
	}
	require.ErrorIs(t, Usage(io.EOF), io.EOF)
	require.ErrorIs(t, Usagef("%w", io.EOF), io.EOF)
}

func TestMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"--nope":              "unknown flag: --nope; see --help",
		"-x":                  "unknown shorthand flag: 'x' in -x; see --help",
		"--number":            "flag needs an argument: --number; see --help",
		"--number=x":          `--number: "x" is not a whole number`,
		"--numbr=1":           "unknown flag: --numbr; did you mean --number?",
		"gruop":               `unknown command "gruop"; did you mean "group"?`,
		"group laef":          `unknown command "laef"; did you mean "leaf"?`,
		"--name=":             "--name is empty: give it a value, or leave it out",
		"word":                `unknown argument "word"; see --help`,
		"--name a word":       `unknown argument "word"; see --help`,
		"group word":          `unknown argument "word"; see --help`,
		"group leaf word":     `unknown argument "word"; see --help`,
		"group leaf --nope":   "unknown flag: --nope; see --help",
		"group --nope":        "unknown flag: --nope; see --help",
		"group leaf --place=": "--place is empty: give it a value, or leave it out",
		"help word":           `no help on "word"; see --help`,
		"help group word":     `no help on "group word"; see --help`,
		"completion word":     `unknown argument "word"; see --help`,
		"completion bash x":   `unknown argument "x"; see --help`,
	} {
		t.Run(args, func(t *testing.T) {
			o := runTree(nil, strings.Fields(args)...)
			require.Equal(t, 2, o.status)
			require.True(t, strings.HasPrefix(o.errOut, "prog: "+want), "%s", o.errOut)
			require.Equal(t, 1, strings.Count(o.errOut, "\n"), "one line per mistake: %s", o.errOut)
			require.Empty(t, o.out)
			require.False(t, o.ran, "nothing is started")
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for args, want := range map[string]string{
		"--help": "--number", "-h": "--number", "help": "--number", "group": "leaf", "group --help": "leaf",
		"help group": "leaf", "help group leaf": "--place", "completion": "bash", "completion bash": "__start_prog",
		"--version": "prog " + Version() + "\n", "-v": Version(),
	} {
		o := runTree(nil, strings.Fields(args)...)
		require.Zero(t, o.status, args)
		require.Contains(t, o.out, want, args)
		require.Empty(t, o.errOut, args)
		require.False(t, o.ran, args)
	}
}

func TestCount(t *testing.T) {
	require.Equal(t, "0 users, 1 user, 2 users", Count(0, "user")+", "+Count(1, "user")+", "+Count(2, "user"))
}

func TestContextReachesCommand(t *testing.T) {
	type mark struct{}
	ctx := context.WithValue(context.Background(), mark{}, true)
	root := tree(func(c *cobra.Command) error {
		require.Equal(t, true, c.Context().Value(mark{}))
		return nil
	})
	require.Zero(t, Run(ctx, root, nil, io.Discard, io.Discard))
}

// A key that is typed where it does not belong must not come back in the error,
// which may end in a log.
func TestKeysAreNotEchoed(t *testing.T) {
	key := pool.NewKey().Text()
	o := runTree(errors.New("-k" + key))
	require.Equal(t, "prog: "+redact.Hidden+"\n", o.errOut)
	o = runTree(nil, key)
	require.NotContains(t, o.errOut, key[:12])
	require.Equal(t, 2, o.status)
}

func TestLogger(t *testing.T) {
	for _, level := range []string{"debug", "info", "warn", "error", "none"} {
		require.Contains(t, Levels, level)
		for _, format := range []string{"text", "json"} {
			require.Contains(t, Formats, format)
			l, err := Logger(level, format)
			require.NoError(t, err)
			require.Equal(t, level == "debug", l.Enabled(slog.LevelDebug))
			require.True(t, l.Enabled(slog.LevelInfo), "for the recent events")
		}
	}
	for _, level := range []string{"", "INFO", "event", "5"} {
		_, err := Logger(level, "text")
		require.EqualError(t, err, fmt.Sprintf("--log-level %q: want %s", level, Levels))
		require.ErrorAs(t, err, new(usageError))
	}
	for _, format := range []string{"", "JSON", "xml"} {
		_, err := Logger("info", format)
		require.EqualError(t, err, fmt.Sprintf("--log-format %q: want %s", format, Formats))
	}
}

func TestIsTerminal(t *testing.T) {
	require.False(t, IsTerminal(new(bytes.Buffer)))
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	require.False(t, IsTerminal(null))
}
