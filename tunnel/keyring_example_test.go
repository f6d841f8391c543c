package tunnel_test

import (
	"fmt"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/tunnel"
)

// A program that embeds a server gives each client a key with rights, and takes
// one back while the server runs.
func ExampleKeyring() {
	anna := tunnel.Grant{Name: "anna", Key: pool.NewKey(), Ports: "8000-8099", MaxStreams: 100}
	ben := tunnel.Grant{Name: "ben", Key: pool.NewKey()}
	ring, err := tunnel.NewKeyring(anna, ben)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := tunnel.NewServer(tunnel.ServerConfig{Listen: "127.0.0.1:0", Keyring: ring})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	fmt.Println(anna.MayPublish(8080), anna.MayPublish(9000), ben.MayPublish(9000))

	if err := ring.Set(ben); err != nil { // whatever anna has up ends, if the server runs
		fmt.Println(err)
	}
	_, known := ring.Lookup(anna.Key.ID())
	fmt.Println(known)
	// Output:
	// true false true
	// false
}
