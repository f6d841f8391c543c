// Package before is what docs/MIGRATION.md shows on NodePass's pool.
package before

import (
	"net"
	"time"

	"github.com/NodePassProject/pool"
)

// Pair runs both ends of a pool pair.
func Pair(l net.Listener) (server, client *pool.Pool) {
	server = pool.NewServerPool(64, "", nil, l, 30*time.Second)
	go server.ServerManager() // until Close

	dial := func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	client = pool.NewClientPool(8, 64, 100*time.Millisecond, time.Second, 30*time.Second, "0", "", dial)
	go client.ClientManager() // until Close
	return server, client
}

// Hand takes both ends of a connection. In a program the ID travels between the
// two gets.
func Hand(server, client *pool.Pool) (user, target net.Conn, err error) {
	id, user, err := server.IncomingGet(10 * time.Second)
	if err != nil {
		return nil, nil, err
	}
	target, err = client.OutgoingGet(id, 10*time.Second)
	if err != nil {
		user.Close()
		return nil, nil, err
	}
	return user, target, nil
}
