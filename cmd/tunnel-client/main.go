// Command tunnel-client is the end of a tunnel next to the services. See
// --help.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/manual"
	"github.com/tunnelpool/pool/internal/status"
	"github.com/tunnelpool/pool/internal/statuscmd"
)

func main() {
	os.Exit(cli.Main(command(), os.Args[1:], os.Stdout, os.Stderr))
}

func command() *cobra.Command {
	root := publishCommand()
	root.AddCommand(checkCommand(), statuscmd.Command(status.ClientProgram), manual.Command(root, manual.Common...))
	cli.Configure(root)
	return root
}
