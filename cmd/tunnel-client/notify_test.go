package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/tunnel"
)

func TestStatusLine(t *testing.T) {
	web, db := tunnel.ServiceStatus{Name: "web", Up: true}, tunnel.ServiceStatus{Name: "db", Up: true}
	taken := tunnel.ServiceStatus{Name: "ssh", Reason: `port 2222 is taken by "pi"`}
	for want, s := range map[string]tunnel.ClientStats{
		"Connected to h, 1 service up, 1 user":           {Connected: true, Services: []tunnel.ServiceStatus{web}, Open: 1},
		"Connected to h, 2 services up, 0 users":         {Connected: true, Services: []tunnel.ServiceStatus{web}, Forwards: []tunnel.ServiceStatus{db}},
		"Not connected to h, 0 of 1 service up, 3 users": {Services: []tunnel.ServiceStatus{taken}, Open: 3},
		`Connected to h, 1 of 3 services up, 0 users; "ssh": port 2222 is taken by "pi"`: {Connected: true,
			Services: []tunnel.ServiceStatus{web, taken}, Forwards: []tunnel.ServiceStatus{{Name: "x", Reason: "y"}}},
	} {
		require.Equal(t, want, statusLine(s, "h"))
	}
}
