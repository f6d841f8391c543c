package tunnel

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

func TestServerConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*ServerConfig)
		want   string
	}{
		{"no key", func(c *ServerConfig) { c.Keys = nil }, "Keys: empty"},
		{"empty key", func(c *ServerConfig) { c.Keys = append(c.Keys, pool.Key{}) }, "Keys: one of them is empty"},
		{"bind", func(c *ServerConfig) { c.Bind = "example.com" }, `Bind: "example.com" is not an IP address`},
		{"from", func(c *ServerConfig) { c.AllowFrom = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8")} }, "AllowFrom: 10.1.2.3/8 has bits behind its prefix"},
		{"negative pool", func(c *ServerConfig) { c.PoolMax = -1 }, "PoolMax: -1"},
		{"huge pool", func(c *ServerConfig) { c.PoolMax = wire.MaxPool + 1 }, "PoolMax: 1048577"},
		{"heartbeat", func(c *ServerConfig) { c.Heartbeat = time.Millisecond }, "Heartbeat: 1ms is not between 10ms and 10m0s"},
		{"wait", func(c *ServerConfig) { c.Wait = -1 }, "Wait: -1ns is negative"},
		{"proxies", func(c *ServerConfig) { c.TrustProxy = []netip.Prefix{{}} }, "TrustProxy: an empty prefix"},
		{"ports", func(c *ServerConfig) { c.AllowPorts = "a-b" }, "AllowPorts: "},
		{"mode", func(c *ServerConfig) { c.TLS = "3" }, `ServerConfig: TLS: unknown TLS mode "3"`},
		{"no certificate", func(c *ServerConfig) { c.TLS = pool.TLSVerified }, "ServerConfig: TLSConfig: TLS mode 2 needs a certificate"},
		{"old TLS", func(c *ServerConfig) { c.TLSConfig = &tls.Config{MaxVersion: tls.VersionTLS12} }, "TLSConfig.MaxVersion"},
		{"handshake", func(c *ServerConfig) { c.HandshakeTimeout = -1 }, "HandshakeTimeout"},
		{"listen", func(c *ServerConfig) { c.Listen = "127.0.0.1:port" }, "tunnel: listen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ServerConfig{Listen: "127.0.0.1:0", Keys: []pool.Key{pool.NewKey()}}
			tt.change(&cfg)
			_, err := NewServer(cfg)
			require.ErrorContains(t, err, tt.want)
			require.True(t, strings.HasPrefix(err.Error(), "tunnel: "), err.Error())
		})
	}
}

func TestClientConfigErrors(t *testing.T) {
	service := func(s Service) func(*ClientConfig) {
		return func(c *ClientConfig) { c.Services[0] = s }
	}
	for _, tt := range []struct {
		name   string
		change func(*ClientConfig)
		want   string
	}{
		{"no server", func(c *ClientConfig) { c.Server = "" }, "Server: empty"},
		{"server without a host", func(c *ClientConfig) { c.Server = ":10101" }, "names no host"},
		{"server without a port", func(c *ClientConfig) { c.Server = "host:" }, "no usable port"},
		{"server's port 0", func(c *ClientConfig) { c.Server = "host:00" }, "no usable port"},
		{"server's port", func(c *ClientConfig) { c.Server = "host:99999" }, "no usable port"},
		{"server with too much", func(c *ClientConfig) { c.Server = "a:b:c" }, "is not HOST or HOST:PORT"},
		{"no key", func(c *ClientConfig) { c.Key = pool.Key{} }, "Key: empty"},
		{"long name", func(c *ClientConfig) { c.Name = strings.Repeat("x", 65) }, "Name: "},
		{"name", func(c *ClientConfig) { c.Name = "a\nb" }, "Name: "},
		{"no service", func(c *ClientConfig) { c.Services = nil }, "there is nothing to do"},
		{"many services", func(c *ClientConfig) { c.Services = make([]Service, maxServices+1) }, "256 is the limit"},
		{"no target", service(Service{Port: 1}), "Services: number 1 has no target"},
		{"target without a port", service(Service{Target: "localhost"}), `Services: number 1: the target "localhost" is not HOST:PORT`},
		{"one target without a port", service(Service{Target: "a:1,b"}), `Services: number 1: the target "b" is not HOST:PORT`},
		{"an empty target", service(Service{Target: "a:1,"}), `Services: number 1: the target "" is not HOST:PORT`},
		{"many targets", service(Service{Target: strings.Repeat("a:1,", 32) + "a:1"}), "Services: number 1: there are 33 targets; 32 is the limit"},
		{"relative socket", service(Service{Target: "unix:app.sock"}), `Services: number 1: the path "app.sock" of the Unix socket does not begin with '/'`},
		{"long socket", service(Service{Target: "unix:/" + strings.Repeat("x", 103)}), "has 104 bytes; systems take 103"},
		{"socket with a sign", service(Service{Target: "unix:/a=b"}), "has a ',', a '='"},
		{"connect timeout", service(Service{Target: "a:1", ConnectTimeout: -1}), "Services: number 1: ConnectTimeout -1ns is negative"},
		{"health", service(Service{Target: "a:1", Health: "icmp"}), `Services: number 1: the health check "icmp": want "tcp" or "http:/PATH"`},
		{"proxy protocol", service(Service{Target: "a:1", ProxyProtocol: "v3"}), `Services: number 1: ProxyProtocol "v3": want "v1" or "v2"`},
		{"several targets of UDP", service(Service{Target: "a:1,b:1", Network: "udp"}), "number 1 is a service of UDP, which has one target, HOST:PORT"},
		{"a socket for UDP", service(Service{Target: "unix:/a", Network: "udp"}), "number 1 is a service of UDP, which has one target, HOST:PORT"},
		{"a header for UDP", service(Service{Target: "a:1", Network: "udp", ProxyProtocol: "v2"}), "number 1 is a service of UDP, whose target cannot be told users' addresses"},
		{"a check for UDP", service(Service{Target: "a:1", Network: "udp", Health: "tcp"}), "number 1 is a service of UDP, whose target cannot be checked"},
		{"health interval", service(Service{Target: "a:1", HealthInterval: 1}), "Services: number 1: HealthInterval 1ns is below 100ms"},
		{"target with an empty port", service(Service{Target: "localhost:"}), "is not HOST:PORT"},
		{"long target", service(Service{Target: strings.Repeat("x", 300) + ":1"}), "host name of 300 bytes"},
		{"service's name", service(Service{Name: "a=b", Target: "h:1"}), "without '='"},
		{"service's long name", service(Service{Name: strings.Repeat("ä", 65), Target: "h:1"}), "1 to 64 printable"},
		{"service's dirty name", service(Service{Name: "a\x1b[31m", Target: "h:1"}), "printable"},
		{"service's bind", service(Service{Bind: "[::1]", Target: "h:1"}), "Services: the bind address"},
		{"service's users", service(Service{AllowFrom: make([]netip.Prefix, 1), Target: "h:1"}), "the prefixes of users of number 1: an empty prefix"},
		{"too many users", service(Service{AllowFrom: slices.Repeat([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, 30), Target: "h:1"}), "30 prefixes are more than 255 bytes"},
		{"service twice", func(c *ClientConfig) { c.Services = append(c.Services, c.Services[0]) }, "twice"},
		{"heartbeat", func(c *ClientConfig) { c.Heartbeat = time.Hour }, "Heartbeat: "},
		{"pool", func(c *ClientConfig) { c.PoolMin, c.PoolMax = 9, 8 }, "PoolMin: 9 exceeds PoolMax 8"},
		{"negative pool", func(c *ClientConfig) { c.PoolMin = -1 }, "is negative"},
		{"intervals", func(c *ClientConfig) { c.PoolMinInterval, c.PoolMaxInterval = 2, 1 }, "PoolMinInterval: 2ns exceeds PoolMaxInterval 1ns"},
		{"negative interval", func(c *ClientConfig) { c.PoolMinInterval = -1 }, "is negative"},
		{"mode", func(c *ClientConfig) { c.TLS = "x" }, "unknown TLS mode"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ClientConfig{Server: "host", Key: pool.NewKey(), Services: []Service{{Name: "web", Target: "localhost:3000"}}}
			tt.change(&cfg)
			_, err := NewClient(cfg)
			require.ErrorContains(t, err, tt.want)
			require.True(t, strings.HasPrefix(err.Error(), "tunnel: "), err.Error())
		})
	}
}

func TestClientDefaults(t *testing.T) {
	for server, want := range map[string]string{
		"example.com": "example.com:10101", "example.com:80": "example.com:80",
		"192.0.2.1": "192.0.2.1:10101", "2001:db8::1": "[2001:db8::1]:10101",
		"[2001:db8::1]": "[2001:db8::1]:10101", "[2001:db8::1]:7": "[2001:db8::1]:7",
	} {
		services := []Service{{Port: 8080, Target: "localhost:3000"}, {Target: "[::1]:22"}}
		c, err := NewClient(ClientConfig{Server: server, Key: pool.NewKey(), Services: services})
		require.NoError(t, err, server)
		require.Equal(t, want, c.cfg.Load().Server)
		require.Equal(t, "8080", c.Services()[0].Name)
		require.Equal(t, "[::1]:22", c.Services()[1].Name)
		require.Empty(t, services[0].Name, "the caller's own slice was changed")
		require.NotEmpty(t, c.cfg.Load().Name)
		require.NotZero(t, c.cfg.Load().Identity)
		require.Equal(t, DefaultPoolMin, c.cfg.Load().PoolMin)
		require.Equal(t, DefaultClientPoolMax, c.cfg.Load().PoolMax)
		require.False(t, c.Stats().Connected)
	}
	c, err := NewClient(ClientConfig{Server: "h", Key: pool.NewKey(), PoolMin: 1000, Services: []Service{{Target: "h:1"}}})
	require.NoError(t, err)
	require.Equal(t, 1000, c.cfg.Load().PoolMax)
}
