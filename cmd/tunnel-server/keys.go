package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/keyfile"
	"github.com/tunnelpool/pool/internal/settings"
	"github.com/tunnelpool/pool/internal/units"
	"github.com/tunnelpool/pool/tunnel"
)

const defaultKey = keyfile.Default

// keysPath is the file of the keys in a state directory.
func keysPath(stateDir string) (string, error) {
	dir, err := config.StateDir(stateDir)
	return filepath.Join(dir, keyfile.Name), cli.Usage(err)
}

type keyAddFlags struct {
	ports, forward, rate string
	maxStreams           int
	stateDir             string
}

func keyAddCommand() *cobra.Command {
	var f keyAddFlags
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a key for one more client",
		Long: `Make a key for one more client, and print it: on a terminal as the command to run
there. The name stands in the log and in errors.`,
		Example: `  tunnel-server key add anna --ports 8000-8099
  tunnel-server key add backup --ports 9000 --max-streams 10 --rate 50Mbit > key`,
		Args: cli.Arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return f.add(c, args[0]) },
	}
	fl := c.Flags()
	fl.StringVar(&f.ports, "ports", "", "public ports that it may publish, as in 8080,9000-9999 (default: all that the server allows)")
	fl.StringVar(&f.forward, "forward", "", "what it may reach through the server, as in db:5432,10.0.0.7:8000-8099,*:443 (default: all that the server allows)")
	fl.IntVar(&f.maxStreams, "max-streams", 0, "most users of it at the same time (default: no limit of its own)")
	fl.StringVar(&f.rate, "rate", "", "bandwidth for its users, per second and direction, as in 50Mbit or 6.25MB (default: no limit)")
	settings.CommandOnly(fl, "max-streams") // this key's, and not the server's
	stateDirFlag(c, &f.stateDir)
	return c
}

// grant is what the flags say, or which of them is wrong.
func (f *keyAddFlags) grant(name string) (tunnel.Grant, error) {
	g := tunnel.Grant{Name: name, Key: pool.NewKey(), MaxStreams: f.maxStreams}
	if err := tunnel.CheckKeyName(name); err != nil {
		return g, err
	}
	if name == defaultKey {
		return g, fmt.Errorf("%q is the key that the first start makes; take another name. If that key is off, take 'off' out of %s", defaultKey, keyfile.Name)
	}
	for _, list := range []struct {
		flag, text string
		rights     tunnel.Grant
	}{
		{"--ports", f.ports, tunnel.Grant{Key: g.Key, Ports: f.ports}},
		{"--forward", f.forward, tunnel.Grant{Key: g.Key, Forwards: f.forward}},
	} {
		if err := list.rights.Check(); err != nil {
			return g, fmt.Errorf("%s: %w", list.flag, errors.Unwrap(err))
		}
	}
	g.Ports, g.Forwards = f.ports, f.forward
	if f.maxStreams < 0 {
		return g, fmt.Errorf("--max-streams %d: want 0 or more", f.maxStreams)
	}
	if f.rate != "" {
		var err error
		if g.Rate, err = units.ParseRate(f.rate); err != nil {
			return g, fmt.Errorf("--rate: %w", err)
		}
	}
	return g, nil
}

func (f *keyAddFlags) add(c *cobra.Command, name string) error {
	g, err := f.grant(name)
	if err != nil {
		return cli.Usage(err)
	}
	path, err := keysPath(f.stateDir)
	if err != nil {
		return err
	}
	if err := keyfile.Add(path, keyfile.Entry{Grant: g}); err != nil {
		return cli.Usage(err)
	}
	there, err := tellServer(c.Context(), path)
	if err != nil {
		err = fmt.Errorf("key %q was made, but %w", name, err)
	}
	out := c.OutOrStdout()
	if !cli.IsTerminal(out) {
		fmt.Fprintln(out, g.Key.Text())
		return err
	}
	port := preferredPort
	if !g.MayPublish(preferredPort) {
		port = lowest(g)
	}
	fmt.Fprintf(out, `Key %q was made and kept in %s.

On its machine, with HOST (HOST:PORT if it is not %s) where this server listens,
and with the server's --tls if it has one, run

  TUNNEL_KEY=%s tunnel-client --server HOST -R %d:3000

%s
`, name, path, tunnel.DefaultPort, g.Key.Text(), port, there.note("The running server lets it in.", "lets it in within a second"))
	return err
}

// lowest is the lowest port that a key may publish.
func lowest(g tunnel.Grant) int {
	for port := 1; port <= 65535; port++ {
		if g.MayPublish(uint16(port)) {
			return port
		}
	}
	return 0 // the server's choice, of none
}

func keyListCommand() *cobra.Command {
	var keyFile, stateDir string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the keys and what they may do; without the secrets",
		Example: `  tunnel-server key list
  tunnel-server key list --state-dir /srv/tunnel`,
		RunE: func(c *cobra.Command, _ []string) error { return listKeys(c, keyFile, stateDir) },
	}
	keyFileFlag(c, &keyFile)
	stateDirFlag(c, &stateDir)
	return c
}

func listKeys(c *cobra.Command, keyFile, stateDir string) error {
	path, err := keysPath(stateDir)
	if err != nil {
		return err
	}
	f, err := keyfile.Read(path)
	if err != nil {
		return cli.Usage(err)
	}
	own, err := config.ExistingKey(keyFile, filepath.Dir(path))
	if err != nil {
		return cli.Usage(err)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tPORTS\tFORWARD\tMAX-STREAMS\tRATE\tSTATE")
	first, _ := f.Find(defaultKey)
	first.Name, first.Key = defaultKey, own.Key
	row(w, first)
	for _, e := range f.Entries {
		if e.Name != defaultKey {
			row(w, e)
		}
	}
	return w.Flush()
}

func row(w *tabwriter.Writer, e keyfile.Entry) {
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	id, state, streams, rate := e.Key.ID().String(), "on", "-", "-"
	if e.Key.IsZero() {
		id, state = "-", "not made yet"
	}
	if e.Off {
		state = "off"
	}
	if e.MaxStreams > 0 {
		streams = strconv.Itoa(e.MaxStreams)
	}
	if e.Rate > 0 {
		rate = units.FormatRate(e.Rate)
	}
	fmt.Fprintln(w, strings.Join([]string{e.Name, id, or(e.Ports, "all"), or(e.Forwards, "all"), streams, rate, state}, "\t"))
}

func keyRevokeCommand() *cobra.Command {
	var stateDir string
	c := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Take a key back; a running server ends its connections at once",
		Long: `Take a key back. The running server is told, and the command returns when it has
ended the connections of the key's clients and their users, and lets them in no
more. Others notice nothing. The key "default", which stands in a file of its own,
is turned off.`,
		Example: `  tunnel-server key revoke anna
  tunnel-server key revoke default`,
		Args: cli.Arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := keysPath(stateDir)
			if err != nil {
				return err
			}
			found, err := keyfile.Revoke(path, args[0])
			switch {
			case err != nil:
				return cli.Usage(err)
			case !found:
				return cli.Usagef("there is no key %q in %s; see tunnel-server key list", args[0], path)
			}
			there, err := tellServer(c.Context(), path)
			if err != nil {
				return fmt.Errorf("key %q is revoked, but %w", args[0], err)
			}
			fmt.Fprintf(c.OutOrStdout(), "Key %q is revoked. %s\n", args[0],
				there.note("The running server has ended its connections.", "ends its connections within a second"))
			return nil
		},
	}
	stateDirFlag(c, &stateDir)
	c.ValidArgsFunction = completeKeyNames(&stateDir)
	return c
}

// showKey prints the key of a name.
func showKey(c *cobra.Command, stateDir, name string) error {
	path, err := keysPath(stateDir)
	if err != nil {
		return err
	}
	f, err := keyfile.Read(path)
	if err != nil {
		return cli.Usage(err)
	}
	e, ok := f.Find(name)
	if !ok {
		return cli.Usagef("there is no key %q in %s; see tunnel-server key list", name, path)
	}
	fmt.Fprintln(c.OutOrStdout(), e.Key.Text())
	return nil
}
