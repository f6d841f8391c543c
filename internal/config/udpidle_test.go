package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/tunnel"
)

func TestUDPIdle(t *testing.T) {
	services := []tunnel.Service{{Name: "web"}, {Name: "dns", Network: "udp"}, {Name: "vpn", Network: "udp"}}
	require.NoError(t, UDPIdle([]string{"5s", "vpn=5m"}, services))
	require.Zero(t, services[0].UDPIdle)
	require.Equal(t, 5*time.Second, services[1].UDPIdle)
	require.Equal(t, 5*time.Minute, services[2].UDPIdle)
	for value, want := range map[string]string{
		"x": "not a duration", "0s": "want 1s to 1h0m0s", "2h": "want 1s to 1h0m0s", "dns=900ms": "want 1s to 1h0m0s",
		"web=5s": `no -R is called "web"; there is "dns", "vpn"`,
	} {
		require.ErrorContains(t, UDPIdle([]string{value}, services), want)
	}
	require.EqualError(t, UDPIdle([]string{"5s"}, services[:1]), `--udp-idle "5s": it is for UDP, and no -R is one of udp/`)
	require.NoError(t, UDPIdle(nil, services[:1]))
}
