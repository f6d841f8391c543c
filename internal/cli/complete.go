package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagValues are the values that a shell offers for flags which take one of a
// few, with what it says of them.
var flagValues = map[string][]cobra.Completion{
	"tls": {
		cobra.CompletionWithDesc("0", "plain, for tests"),
		cobra.CompletionWithDesc("1", "self-signed, the key proves it"),
		cobra.CompletionWithDesc("2", "verified certificate"),
	},
	"log-level":      strings.Split(strings.ReplaceAll(Levels, " or ", ", "), ", "),
	"log-format":     {"text", "json"},
	"proxy-protocol": {"v1", "v2"},
	"health":         {"tcp", "http:/"},
}

// completeFlags tells shells what each flag of a command takes. For those that
// name no file it is not a file's name, which shells offer otherwise.
func completeFlags(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if _, known := c.GetFlagCompletionFunc(f.Name); known || f.Value.Type() == "bool" || namesPath(f) {
			return
		}
		complete := cobra.FixedCompletions(flagValues[f.Name], cobra.ShellCompDirectiveNoFileComp)
		// It fails for an unknown flag and for one that has a function only.
		_ = c.RegisterFlagCompletionFunc(f.Name, complete)
	})
	if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// namesPath tells flags that Files or Directories has marked, whose values
// shells find by themselves.
func namesPath(f *pflag.Flag) bool {
	_, file := f.Annotations[cobra.BashCompFilenameExt]
	_, directory := f.Annotations[cobra.BashCompSubdirsInDir]
	return file || directory
}

// Files marks flags that name files: for the shell's completion, and in a
// configuration file they are relative to its directory.
func Files(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		must(cobra.MarkFlagFilename(flags, name))
	}
}

// Directories marks flags that name directories, likewise.
func Directories(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		must(cobra.MarkFlagDirname(flags, name))
	}
}

// must panics where there is no such flag: a mistake in the program.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
