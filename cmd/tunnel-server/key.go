package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/settings"
)

func keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "The keys of clients",
		Long: `The keys of clients. The first start of the server makes one without
restrictions, "default". With add each client gets one of its own: with rights,
a name in the log, and so that it can be revoked without the others. They stand in
keys.yaml in the state directory, which may be edited by hand; a running server
follows it at once. Run these commands as the server's user, or as root.`,
		Example: `  tunnel-server key add anna --ports 8000-8099
  tunnel-server key list
  tunnel-server key revoke anna`,
	}
	c.AddCommand(keyAddCommand(), keyListCommand(), keyRevokeCommand(), keyShowCommand())
	return c
}

func keyShowCommand() *cobra.Command {
	var keyFile, stateDir string
	c := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Print a key; without a name the first, which is made if there is none",
		Long: `Print the key that clients need, from the same place as the server takes it: run
it as the same user. Give it to a client in TUNNEL_KEY or in a file; never on a
command line.`,
		Example: `  tunnel-server key show
  (umask 077; ssh server tunnel-server key show > key) && tunnel-client --key-file key …`,
		Args: cli.Arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] != defaultKey {
				return showKey(c, stateDir, args[0])
			}
			key, err := serverKey(keyFile, stateDir)
			if err != nil {
				return err
			}
			if key.Created { // perhaps not the server's: it may run as another user
				fmt.Fprintf(c.ErrOrStderr(), "A new key was made and kept in %s.\n", key.Path)
			}
			fmt.Fprintln(c.OutOrStdout(), key.Key.Text())
			return nil
		},
	}
	keyFileFlag(c, &keyFile)
	stateDirFlag(c, &stateDir)
	c.ValidArgsFunction = completeKeyNames(&stateDir)
	return c
}

func keyFileFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "key-file", "", "file with the tunnel's key (default: $TUNNEL_KEY, then 'key' in the state directory)")
	settings.Files(c.Flags(), "key-file")
}

func stateDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "state-dir", "", "state directory (default: as the server's)")
	settings.Directories(c.Flags(), "state-dir")
}
