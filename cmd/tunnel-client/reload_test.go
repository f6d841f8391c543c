package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/tunnel"
)

func TestDifferences(t *testing.T) {
	before := tunnel.ClientConfig{
		Services: []tunnel.Service{{Name: "web", Port: 80, Target: "a:1"}, {Name: "ssh", Port: 22}, {Name: "api", Port: 81}},
		Forwards: []tunnel.Forward{{Name: "db", Listen: "127.0.0.1:1"}, {Listen: "127.0.0.1:2"}},
	}
	after := tunnel.ClientConfig{
		Services: []tunnel.Service{{Name: "api", Port: 81}, {Name: "web", Port: 80, Target: "a:2"}, {Name: "dns", Port: 53}},
		Forwards: []tunnel.Forward{{Name: "db", Listen: "127.0.0.1:1"}},
	}
	require.Equal(t, []string{"services web changed, dns added, ssh removed", "forwards 127.0.0.1:2 removed"}, differences(&before, &after))
	require.Empty(t, differences(&before, &before))
	require.Equal(t, []string{"services web changed, ssh added, dns removed", "forwards 127.0.0.1:2 added"}, differences(&after, &before))
}
