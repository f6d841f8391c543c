package testnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// given are the ports that FreePort has found, so that none is found twice.
var given sync.Map

// FreePort finds a TCP port of 127.0.0.1 that is free, and that the system gives to
// nobody who asks for any: so it stays free until the caller wants it taken.
func FreePort() (uint16, error) {
	for range 100 {
		port := uint16(20000 + rand.IntN(10000)) // below the ephemeral ports of the common systems
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port, nil
		}
	}
	return 0, errors.New("no port of 127.0.0.1 is free")
}
