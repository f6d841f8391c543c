package testnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

// Namespace is one machine on a [Link], as far as its network goes: a loopback
// of its own, one address on the link, and a packet filter. All methods are
// safe for concurrent use.
type Namespace struct {
	addr string
	file *os.File // the namespace itself
	tun  *os.File // this machine's end of the link
}

// Addr is the machine's IP address on the link. Its 127.0.0.1 is its own.
func (n *Namespace) Addr() string { return n.addr }

// Do calls f on a thread that is in the namespace: sockets that f makes belong
// to it for good, and programs that f starts live in it. What f does on other
// goroutines is elsewhere.
func (n *Namespace) Do(f func() error) error { return within(n.file, f) }

// Start starts a program in the namespace.
func (n *Namespace) Start(c *exec.Cmd) error { return n.Do(c.Start) }

// Dial connects from the namespace to a host:port, whose host is an IP address.
func (n *Namespace) Dial(ctx context.Context, address string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}

// Listen opens a port in the namespace, on an IP address of it.
func (n *Namespace) Listen(address string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l, err
}

// Filter replaces the rules for packets that come in, from the link and from
// the machine itself, each a line in nftables' language such as "tcp dport 80
// drop". Without rules everything passes, as at first. Rules are for what comes
// in because only that is lost in silence: a program is told when its own
// system's filter drops what it sends.
func (n *Namespace) Filter(rules ...string) error {
	script := "table inet testnet\ndelete table inet testnet\n"
	if len(rules) > 0 {
		script += "table inet testnet {\n chain incoming {\n  type filter hook input priority 0; policy accept;\n  " +
			strings.Join(rules, "\n  ") + "\n }\n}\n"
	}
	c := exec.Command("nft", "-f", "-")
	c.Stdin = strings.NewReader(script)
	var out []byte
	err := n.Do(func() (err error) {
		out, err = c.CombinedOutput()
		return err
	})
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("testnet: nft is not in PATH: install nftables")
	case err != nil:
		return fmt.Errorf("testnet: nft: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// close closes what there is; a nil file has nothing to close.
func (n *Namespace) close() {
	n.tun.Close()
	n.file.Close()
}
