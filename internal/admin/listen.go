package admin

import (
	"fmt"
	"net"
	"strconv"
)

// CheckAddress says what is wrong with the value of --admin.
func CheckAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("--admin %q: want HOST:PORT, as in 127.0.0.1:10102", address)
	}
	return nil
}

// Exposed reports whether others than this machine can connect to l.
func Exposed(l net.Listener) bool {
	at, ok := l.Addr().(*net.TCPAddr)
	return !ok || !at.IP.IsLoopback()
}

// HostsOf are the names that requests may be for at the value of --admin. Where
// everybody can connect a name protects nothing, and none is asked for.
func HostsOf(address string, l net.Listener) []string {
	if Exposed(l) {
		return nil
	}
	host, _, _ := net.SplitHostPort(address)
	return []string{host}
}
