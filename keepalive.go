package pool

import (
	"math/rand/v2"
	"net"
	"time"
)

const (
	// probeShare is how many probe intervals keepAlive has room for, and
	// minProbes how many probes there are at least before a connection ends.
	probeShare = 9
	minProbes  = 3
)

// TuneTCP sets what a connection that is often idle needs of TCP: no delay for
// small writes; keep-alive probes, the first after half to all of keepAlive
// without a word, each connection at its own time, then every ninth of it, in
// whole seconds; and on Linux TCP_USER_TIMEOUT of twice keepAlive. A peer that
// answers none of the probes is given up after twice keepAlive. Zero means 30 s;
// a negative value turns probes and timeout off; below 3 s a healthy connection
// may end by one or two lost probes. Pools and [Acceptor] do it to theirs; it is
// for connections that are secured without a pool. Connections that are not TCP
// are left alone; a socket that refuses an option works without it.
func TuneTCP(conn net.Conn, keepAlive time.Duration) {
	if keepAlive == 0 {
		keepAlive = defaultKeepAlive
	}
	tuneTCP(conn, keepAlive)
}

// tuneTCP is TuneTCP without a default.
func tuneTCP(conn net.Conn, keepAlive time.Duration) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetNoDelay(true)
	_ = tcp.SetKeepAliveConfig(probes(keepAlive, rand.Float64()))
	if keepAlive > 0 {
		if raw, err := tcp.SyscallConn(); err == nil {
			setUserTimeout(raw, userTimeout(keepAlive))
		}
	}
}

// probes says when a connection is probed. Thousands that were made together
// would be probed together too, over and over, and the kernel drops what
// overflows a queue: so part, from 0 to 1, tells them apart, and one that loses
// some probes has further ones in the same time.
func probes(keepAlive time.Duration, part float64) net.KeepAliveConfig {
	if keepAlive <= 0 {
		return net.KeepAliveConfig{}
	}
	idle := wholeSeconds(keepAlive/2 + time.Duration(part*float64(keepAlive/2)))
	interval := wholeSeconds(keepAlive / probeShare)
	left := 2*keepAlive - idle // as long as with the user timeout, which running streams lack
	return net.KeepAliveConfig{
		Enable: true, Idle: idle, Interval: interval,
		Count: max(int((left+interval-1)/interval), minProbes),
	}
}

// wholeSeconds rounds up to what the kernel counts in, at least one.
func wholeSeconds(d time.Duration) time.Duration {
	return max((d + time.Second - 1).Truncate(time.Second), time.Second)
}
