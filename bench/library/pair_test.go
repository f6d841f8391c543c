package library

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	nodepass "github.com/NodePassProject/pool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	tunnelpool "github.com/tunnelpool/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both is what the two libraries have in common.
type both interface {
	ClientManager()
	ServerManager()
	IncomingGet(timeout time.Duration) (string, net.Conn, error)
	OutgoingGet(id string, timeout time.Duration) (net.Conn, error)
	Active() int
	Close()
}

// library is one of the two.
type library struct {
	name      string
	newServer func(maxCap int, clientIP string, tlsConfig *tls.Config, l net.Listener, keepAlive time.Duration) both
	newClient func(minCap, maxCap int, minIvl, maxIvl, keepAlive time.Duration, tlsCode, hostname string, dialer func() (net.Conn, error)) both
	giveBack  func(p both, id string, c net.Conn) // nil where connections serve once
}

var (
	ours = library{
		name: "tunnelpool",
		newServer: func(n int, ip string, c *tls.Config, l net.Listener, keepAlive time.Duration) both {
			return tunnelpool.NewServerPool(n, ip, c, l, keepAlive)
		},
		newClient: func(lo, hi int, short, long, keepAlive time.Duration, code, host string, dial func() (net.Conn, error)) both {
			return tunnelpool.NewClientPool(lo, hi, short, long, keepAlive, code, host, dial)
		},
		giveBack: func(p both, id string, c net.Conn) { p.(*tunnelpool.Pool).Put(id, c) },
	}
	theirs = library{
		name: "nodepass",
		newServer: func(n int, ip string, c *tls.Config, l net.Listener, keepAlive time.Duration) both {
			return nodepass.NewServerPool(n, ip, c, l, keepAlive)
		},
		newClient: func(lo, hi int, short, long, keepAlive time.Duration, code, host string, dial func() (net.Conn, error)) both {
			return nodepass.NewClientPool(lo, hi, short, long, keepAlive, code, host, dial)
		},
	}

	libraries = []library{ours, theirs}
)

// pair is a server pool and a client pool that run.
type pair struct {
	library
	server, client both
	close          func() // may be called twice
}

// settings of a pair. Both libraries get the same.
type settings struct {
	minCap, maxCap int
	minIvl, maxIvl time.Duration
	tls            bool
}

const keepAlive = 30 * time.Second

// open starts a pair and waits until minCap connections are idle at both ends.
func (l library) open(t testing.TB, n network, s settings) *pair {
	t.Helper()
	var config *tls.Config
	code := "0"
	if s.tls {
		config, code = &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: tls.VersionTLS13}, "1"
	}
	p := &pair{
		library: l,
		server:  l.newServer(s.maxCap, "", config, n.listener, keepAlive),
		client:  l.newClient(s.minCap, s.maxCap, s.minIvl, s.maxIvl, keepAlive, code, "", n.dial),
	}
	var managers sync.WaitGroup
	managers.Go(p.server.ServerManager) // end with Close
	managers.Go(p.client.ClientManager)
	p.close = sync.OnceFunc(func() {
		p.client.Close()
		n.listener.Close()
		p.server.Close()
		managers.Wait()
	})
	t.Cleanup(p.close)
	p.whole(t, s.minCap)
	return p
}

// whole waits until n connections are idle at both ends.
func (p *pair) whole(t testing.TB, n int) {
	t.Helper()
	if !p.wholeWithin(n, 2*time.Minute) {
		require.Failf(t, "the pool does not fill", "%d and %d of %d", p.server.Active(), p.client.Active(), n)
	}
}

func (p *pair) wholeWithin(n int, limit time.Duration) bool {
	for end := time.Now().Add(limit); p.server.Active() < n || p.client.Active() < n; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// ends are the two ends of a connection that is out.
type ends struct {
	id   string
	near net.Conn // of the server pool
	far  net.Conn // of the client pool
}

// take is what a user costs a library: get at the server, take at the client.
func (p *pair) take(timeout time.Duration) (ends, error) {
	id, near, err := p.server.IncomingGet(timeout)
	if err != nil {
		return ends{}, err
	}
	far, err := p.client.OutgoingGet(id, timeout)
	if err != nil {
		near.Close()
		return ends{}, err
	}
	return ends{id, near, far}, nil
}

// end is what becomes of a pair after its user.
func (p *pair) end(e ends, back bool) {
	if back && p.giveBack != nil {
		p.giveBack(p.server, e.id, e.near)
		p.giveBack(p.client, e.id, e.far)
		return
	}
	e.near.Close()
	e.far.Close()
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})
