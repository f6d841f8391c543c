package clitest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/settings"
)

// page is docs/CONFIGURATION.md, from where the commands are.
const page = "../../docs/CONFIGURATION.md"

// Settings checks that docs/CONFIGURATION.md has all of a program's settings below
// a heading, and no others: with variable, default, and which of them need a
// restart.
func Settings(t *testing.T, command func() *cobra.Command, heading string, restart []string) {
	t.Helper()
	rows := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| `([A-Z_]+)` \\| ([^|]+) \\| (live|restart) \\|$").FindAllStringSubmatch(below(t, heading), -1)
	var documented []string
	flags := program(command)
	for _, row := range rows {
		f := flags.Lookup(row[1])
		require.NotNil(t, f, "%s is no flag", row[1])
		documented = append(documented, f.Name)
		require.Equal(t, settings.Variable(f.Name), row[2])
		if !slices.Contains([]string{"", "0", "[]", "false"}, f.DefValue) {
			require.Equal(t, "`"+f.DefValue+"`", row[3], f.Name)
		}
		require.Equal(t, slices.Contains(restart, f.Name), row[4] == "restart", f.Name)
	}
	require.Equal(t, settings.Names(flags), documented, "settings, in their order")
	for _, name := range documented {
		takes(t, command, name)
	}
}

// takes checks that a setting is taken from its variable and from the file.
func takes(t *testing.T, command func() *cobra.Command, name string) {
	t.Helper()
	values := map[string]string{"int": "7", "duration": "7s", "bool": "true"}
	value := func(fl *pflag.FlagSet) string { return strings.Trim(fl.Lookup(name).Value.String(), "[]") }
	flags := program(command)
	want := values[flags.Lookup(name).Value.Type()]
	if want == "" {
		want = "/x7" // which is a path too
	}
	t.Setenv(settings.Variable(name), want)
	_, err := settings.Load(flags, flags)
	require.NoError(t, err)
	require.Equal(t, want, value(flags), name)
	require.NoError(t, os.Unsetenv(settings.Variable(name)))
	require.Equal(t, want, value(Valid(t, command, name+": "+want)), name)
}

// Example checks that the example of a configuration file below a heading of
// docs/CONFIGURATION.md names all of a program's settings, and is right, with
// and without what is commented out.
func Example(t *testing.T, command func() *cobra.Command, heading string) {
	t.Helper()
	_, text, ok := strings.Cut(below(t, heading), "```yaml\n")
	require.True(t, ok)
	text, _, _ = strings.Cut(text, "```")
	whole := Uncommented(text)
	for _, name := range settings.Names(program(command)) {
		require.Regexp(t, `(?m)^`+name+`:( |$)`, whole)
	}
	Valid(t, command, text)
	Valid(t, command, whole)
}

// Uncommented is a configuration file with the settings in it that are commented
// out.
func Uncommented(text string) string {
	return regexp.MustCompile(`(?m)^( *)# ( *[a-z-]+:(?: .*)?)$`).ReplaceAllString(text, "$1$2")
}

// Valid checks that a configuration file is one of the program's, and returns its
// flags with what the file says.
func Valid(t *testing.T, command func() *cobra.Command, text string) *pflag.FlagSet {
	t.Helper()
	path := filepath.Join(t.TempDir(), "conf.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	flags := program(command)
	if flags.Lookup(settings.ConfigFlag) == nil {
		flags.String(settings.ConfigFlag, "", "")
	}
	require.NoError(t, flags.Parse([]string{"--" + settings.ConfigFlag, path}))
	_, err := settings.Load(flags, flags)
	require.NoError(t, err)
	return flags
}

// program is a fresh set of a program's own flags.
func program(command func() *cobra.Command) *pflag.FlagSet {
	flags := command().Flags()
	flags.SortFlags = false
	return flags
}

// below is what docs/CONFIGURATION.md has below a heading, up to the next one.
func below(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "## "+heading+"\n")
	require.True(t, ok, heading)
	return regexp.MustCompile("\n#{2,} ").Split(rest, 2)[0]
}
