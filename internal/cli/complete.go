package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tunnelpool/pool/internal/settings"
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
		if _, known := c.GetFlagCompletionFunc(f.Name); known || f.Value.Type() == "bool" {
			return
		}
		complete := cobra.FixedCompletions(flagValues[f.Name], cobra.ShellCompDirectiveNoFileComp)
		switch {
		case settings.IsFile(f):
			complete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
		case settings.IsDirectory(f):
			complete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		}
		// It fails for an unknown flag and for one that has a function only.
		_ = c.RegisterFlagCompletionFunc(f.Name, complete)
	})
	if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
}
