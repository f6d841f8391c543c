// Package tunnel publishes TCP and UDP services behind NAT on a public host. A [Server]
// runs on the public host, a [Client] next to the services. Every user is
// served over a connection that the client dialed, secured and proved before
// the user came; package pool keeps those ready.
//
// One port of the server carries everything: each client's control connection
// and its pooled connections. Both ends must hold the same key, one key per
// client at best: who holds a key can act as the server towards its other
// holders, unless certificates are verified (TLS mode 2).
//
//	server, err := tunnel.NewServer(tunnel.ServerConfig{Keys: []pool.Key{key}})
//	client, err := tunnel.NewClient(tunnel.ClientConfig{
//		Server:   "example.com:10101",
//		Key:      key,
//		Services: []tunnel.Service{{Port: 8080, Target: "localhost:3000"}},
//	})
//	err = client.Run(ctx)
//
// Both take another configuration while they run, with [Server.Reconfigure] and
// [Client.Reconfigure]: services come and go, and the streams of others run on.
//
// The package logs through [pool.Logger] and is silent without one; one that is a
// [pool.EventLogger] gets events with names and attributes, which docs/LOGS.md
// lists. It reads no environment, no file and no flag; that is what the commands
// add.
package tunnel
