package main

import (
	"fmt"
	"slices"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/notify"
	"github.com/tunnelpool/pool/tunnel"
)

// manager is who started the client, as far as it wants to know. The client is
// ready when all that it publishes and forwards is up.
func manager(client *tunnel.Client, server func() string, log pool.Logger) *notify.Manager {
	return notify.New(notify.Program{Logger: log, Up: client.Up,
		Status: func() string { return statusLine(client.Stats(), server()) }})
}

// statusLine tells in a line how the client does, and of the first service or
// forward that is not up why.
func statusLine(s tunnel.ClientStats, server string) string {
	up, down := 0, ""
	all := slices.Concat(s.Services, s.Forwards)
	for _, service := range all {
		switch {
		case service.Up:
			up++
		case down == "":
			down = fmt.Sprintf("; %q: %s", service.Name, service.Reason)
		}
	}
	way := "Connected to " + server
	if !s.Connected {
		way, down = "Not connected to "+server, "" // which is why
	}
	services := cli.Count(up, "service")
	if up < len(all) {
		services = fmt.Sprintf("%d of %s", up, cli.Count(len(all), "service"))
	}
	return fmt.Sprintf("%s, %s up, %s%s", way, services, cli.Count(s.Open, "user"), down)
}
