package main

import (
	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/cli"
	"github.com/tunnelpool/pool/internal/notify"
	"github.com/tunnelpool/pool/tunnel"
)

// manager is who started the server, as far as it wants to know. The server is
// ready from the start: its port is open, and who comes early waits there.
func manager(server *tunnel.Server, log pool.Logger) *notify.Manager {
	return notify.New(notify.Program{Logger: log, Status: func() string { return statusLine(server.Stats()) }})
}

// statusLine tells in a line how the server does.
func statusLine(s tunnel.ServerStats) string {
	up := 0
	for _, service := range s.Services {
		if service.Up {
			up++
		}
	}
	return cli.Count(s.Sessions, "client") + ", " + cli.Count(up, "service") + ", " + cli.Count(s.Open, "user")
}
