//go:build !unix

package admin

import "net"

// bindPrivately binds the socket. Who may open it follows from the directory.
func bindPrivately(path string) (net.Listener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}

// nobodyListens reports whether a failed dial says that a socket was left behind.
func nobodyListens(error) bool { return true }
