package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/demo"
	"github.com/tunnelpool/pool/internal/logging"
)

// maxDemoRTT keeps the demo shorter than its own time limit.
const maxDemoRTT = time.Second

func demoCommand() *cobra.Command {
	var o demo.Options
	var level string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show a tunnel at work on this machine",
		Long: `Run a server, a client and a web page in one process over loopback, with TLS, a
throwaway key and free ports. The page is fetched through the tunnel once, and
the time to its first byte is shown for a warm and for an empty pool.`,
		Example: `  tunnel-server demo
  tunnel-server demo --rtt 40ms        # with a simulated round trip, as across a country
  tunnel-server demo --once            # end after the proof; status 0 if it held`,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := cli.Logger(level, logging.Text)
			if err != nil {
				return err
			}
			if o.RTT < 0 || o.RTT > maxDemoRTT {
				return cli.Usagef("--rtt %v: want 0 to %v", o.RTT, maxDemoRTT)
			}
			o.Logger = log
			return demo.Run(c.Context(), c.OutOrStdout(), o)
		},
	}
	c.Flags().DurationVar(&o.RTT, "rtt", 0, "simulated round trip between the two ends, labelled as such")
	c.Flags().BoolVar(&o.Once, "once", false, "end after the proof")
	c.Flags().StringVar(&level, "log-level", "warn", cli.Levels)
	return c
}
