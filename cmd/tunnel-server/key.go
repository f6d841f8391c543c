package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "The tunnel's key",
	}
	c.AddCommand(keyShowCommand())
	return c
}

func keyShowCommand() *cobra.Command {
	var keyFile, stateDir string
	c := &cobra.Command{
		Use:   "show",
		Short: "Print the key, and make one if there is none",
		Long: `Print the key that clients need, from the same place as the server takes it: run
it as the same user. Give it to a client in TUNNEL_KEY or in a file; never on a
command line.`,
		Example: `  tunnel-server key show
  (umask 077; ssh server tunnel-server key show > key) && tunnel-client --key-file key …`,
		RunE: func(c *cobra.Command, _ []string) error {
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
	c.Flags().StringVar(&keyFile, "key-file", "", "file with the tunnel's key (default: $TUNNEL_KEY, then 'key' in the state directory)")
	c.Flags().StringVar(&stateDir, "state-dir", "", "state directory (default: as the server's)")
	return c
}
