// Package activation takes over listening sockets from the process that started
// this one, by the protocol of systemd's socket activation (sd_listen_fds(3)):
// LISTEN_PID says for whom they are, LISTEN_FDS how many there are from
// descriptor 3 on, LISTEN_FDNAMES what they are called. As long as the other
// process keeps them open, users wait instead of being refused while this one
// is restarted or replaced by a newer version.
package activation

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

const (
	firstDescriptor = 3
	maxDescriptors  = 4096
)

// Socket is a listening socket that was handed over.
type Socket struct {
	net.Listener
	Name string // FileDescriptorName= of the socket unit, "unknown" or empty without
}

// Sockets returns the TCP sockets that were handed over, none if there are none
// for this process, and forgets them: a second call, and programs started by
// this one, find none. The caller closes them. It is to be called once, early,
// before other files are opened. An error names the socket that is not a
// listening TCP socket.
func Sockets() ([]Socket, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxDescriptors {
		return nil, fmt.Errorf("LISTEN_FDS=%q is not a number of sockets", count)
	}
	called := strings.Split(names, ":")
	sockets := make([]Socket, 0, n)
	for i := range n {
		name := ""
		if i < len(called) {
			name = called[i]
		}
		l, err := adopt(uintptr(firstDescriptor+i), name)
		if err != nil {
			for _, s := range sockets {
				s.Close()
			}
			return nil, fmt.Errorf("socket %d (%q) of LISTEN_FDS: %w", i+1, name, err)
		}
		sockets = append(sockets, Socket{l, name})
	}
	return sockets, nil
}

// adopt makes a listener of an inherited descriptor, which it closes: the
// listener has a copy, which programs started by this one do not inherit.
func adopt(fd uintptr, name string) (net.Listener, error) {
	f := os.NewFile(fd, name)
	if f == nil {
		return nil, fmt.Errorf("descriptor %d is not open", fd)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if _, ok := l.(*net.TCPListener); !ok {
		l.Close()
		return nil, fmt.Errorf("%v is not a TCP socket", l.Addr())
	}
	if !listening(f) {
		l.Close()
		return nil, fmt.Errorf("%v does not listen; a socket unit must not say Accept=yes", l.Addr())
	}
	return l, nil
}
