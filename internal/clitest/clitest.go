// Package clitest holds for the command tree of a program what both programs
// promise: that the manual page and completion know every command and flag.
package clitest

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/cli"
)

// run runs a fresh tree and returns what it printed.
func run(t *testing.T, command func() *cobra.Command, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	require.Zero(t, cli.Run(context.Background(), command(), args, &out, &errOut), "%s: %s", args, errOut.String())
	return out.String()
}

// each calls f with every command of a tree and its words after the program's
// name.
func each(c *cobra.Command, words []string, f func(c *cobra.Command, words []string)) {
	f(c, words)
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			each(sub, append(words[:len(words):len(words)], sub.Name()), f)
		}
	}
}

// tree is a program's tree as it is when a command runs, with those that cobra
// adds.
func tree(command func() *cobra.Command) *cobra.Command {
	root := command()
	root.InitDefaultCompletionCmd()
	return root
}

// ManualPage checks that the page has every command and every flag, where the
// command stands, and that those who read pages find nothing to warn of.
func ManualPage(t *testing.T, command func() *cobra.Command) {
	t.Helper()
	page := run(t, command, "man")
	flags := 0
	rest := page[strings.Index(page, `.SH "OPTIONS"`):]
	each(tree(command), nil, func(c *cobra.Command, words []string) {
		if len(words) > 0 {
			heading := `.SS "` + roff(strings.Join(words, " "))
			require.Contains(t, rest, heading)
			rest = rest[strings.Index(rest, heading):]
		}
		section, _, _ := strings.Cut(rest[1:], "\n.S")
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				flags++
				require.Contains(t, section, `\fB`+roff("--"+f.Name)+`\fR`, "%s", words)
			}
		})
	})
	require.Greater(t, flags, 20, "too few flags seen for the test to mean anything")
	for _, reader := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"groff", "-man", "-ww", "-z"}} {
		if path, err := exec.LookPath(reader[0]); err == nil {
			c := exec.Command(path, reader[1:]...)
			c.Stdin = strings.NewReader(page)
			out, _ := c.CombinedOutput()
			require.Empty(t, without(string(out), "missing date"), "%s", reader)
		}
	}
}

// without leaves out the lines that a test's program, which knows no date, cannot
// help.
func without(text, what string) (left string) {
	for line := range strings.Lines(text) {
		if !strings.Contains(line, what) {
			left += line
		}
	}
	return left
}

func roff(text string) string { return strings.ReplaceAll(text, "-", `\-`) }

// Completion checks that a shell is offered every command and every flag, and
// no file for what is none.
func Completion(t *testing.T, command func() *cobra.Command) {
	t.Helper()
	each(tree(command), nil, func(c *cobra.Command, words []string) {
		if words != nil && words[0] == "completion" {
			return // cobra's own
		}
		offered := run(t, command, append(append([]string{"__complete"}, words...), "-")...)
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			require.Regexp(t, `(?m)^--`+f.Name+`\t`, offered, "%s", words)
			if f.Value.Type() == "bool" {
				return
			}
			values := run(t, command, append(append([]string{"__complete"}, words...), "--"+f.Name, "")...)
			directive := strings.TrimSpace(values[strings.LastIndex(values, ":")+1:])
			switch usage := f.Usage; {
			case f.Name == "state-dir":
				require.Equal(t, "16", directive, "%s --%s: directories", words, f.Name)
			case strings.Contains(usage, "file") && !strings.Contains(usage, "open files"):
				require.Equal(t, "0", directive, "%s --%s: files", words, f.Name)
			default:
				require.Equal(t, "4", directive, "%s --%s: no files", words, f.Name)
			}
		})
		commands := run(t, command, append(append([]string{"__complete"}, words...), "")...)
		for _, sub := range c.Commands() {
			if !sub.Hidden {
				require.Regexp(t, `(?m)^`+sub.Name()+`\t`, commands, "%s", words)
			}
		}
		require.Contains(t, commands, ":4\n", "%s: an argument is no file", words)
	})
}

// Offers checks that a shell is offered these values after some words.
func Offers(t *testing.T, command func() *cobra.Command, words string, want ...string) {
	t.Helper()
	got := run(t, command, append(append([]string{"__complete"}, strings.Fields(words)...), "")...)
	var values []string
	for line := range strings.Lines(got) {
		if value, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); value != "" && !strings.HasPrefix(value, ":") {
			values = append(values, value)
		}
	}
	require.Equal(t, want, values, words)
}
