package after

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/tunnelpool/pool"
)

// Server is a server pool for clients that run NodePass's pool v1.0.50. A nil
// config means plain TCP, as it does there.
func Server(l net.Listener, config *tls.Config) (*pool.Pool, error) {
	mode := pool.TLSSelfSigned
	if config == nil {
		mode = pool.TLSPlain
	}
	return pool.NewServer(pool.ServerConfig{
		Listener: l, TLS: mode, TLSConfig: config,
		ShortIDs: true,
		Limits:   pool.Limits{MaxCap: 64},
	})
}

// Client is a client pool for a server that runs it.
func Client(address string, mode pool.TLSMode, hostname string) (*pool.Pool, error) {
	var dialer net.Dialer
	return pool.NewClient(pool.ClientConfig{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		},
		Security: pool.Security{TLS: mode, ServerName: hostname},
		ShortIDs: true,
		Limits:   pool.Limits{MinCap: 8, MaxCap: 64},
	})
}
