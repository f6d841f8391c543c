package main

import (
	"github.com/spf13/cobra"

	"github.com/tunnelpool/pool/internal/keyfile"
)

// completeKeyNames offers a shell the names of the keys that there are, for a
// command that takes one.
func completeKeyNames(stateDir *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		path, err := keysPath(*stateDir)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		file, err := keyfile.Read(path)
		if err != nil { // the command itself will tell
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := []cobra.Completion{defaultKey}
		for _, e := range file.Entries {
			if e.Name != defaultKey {
				names = append(names, e.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
