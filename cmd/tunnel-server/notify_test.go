package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/tunnel"
)

func TestStatusLine(t *testing.T) {
	require.Equal(t, "0 clients, 0 services, 0 users", statusLine(tunnel.ServerStats{}))
	require.Equal(t, "2 clients, 1 service, 17 users", statusLine(tunnel.ServerStats{Sessions: 2, Open: 17,
		Services: []tunnel.ServiceStatus{{Name: "web", Up: true}, {Name: "ssh", Reason: "its client is away"}}}))
}
