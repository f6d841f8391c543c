// Package muxrelay is the alternative to a pool: the same reverse tunnel over
// one TLS connection that carries all users as streams of hashicorp/yamux. It
// is there to be measured beside, has no key, and serves nobody but the bench.
package muxrelay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// settings are yamux's defaults but for what would hold it back here: a window
// of 256 KiB is not enough for a path with a round trip of 40 ms, and 256
// streams that nobody has accepted yet are not enough for a burst of 1,000.
func settings() *yamux.Config {
	c := yamux.DefaultConfig()
	c.MaxStreamWindowSize = 6 << 20
	c.AcceptBacklog = 4096
	c.LogOutput = io.Discard
	return c
}

// Server waits for one client on tunnel, and then leads every user of public to
// it. It returns when a listener or the client's connection ends.
func Server(tunnel, public net.Listener) error {
	cert, err := certificate()
	if err != nil {
		return err
	}
	raw, err := tunnel.Accept()
	if err != nil {
		return err
	}
	session, err := yamux.Server(tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}), settings())
	if err != nil {
		return err
	}
	defer session.Close()
	go func() { // ends with the client's connection
		<-session.CloseChan()
		public.Close()
	}()
	for {
		user, err := public.Accept()
		if err != nil {
			return err
		}
		go func() { // ends with the user, or with the session
			stream, err := session.OpenStream()
			if err != nil {
				user.Close()
				return
			}
			relay(user, stream)
		}()
	}
}

// Client connects to a server and leads every stream to target. It returns when
// the connection ends.
func Client(server, target string) error {
	conn, err := tls.Dial("tcp", server, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err != nil {
		return err
	}
	session, err := yamux.Client(conn, settings())
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return fmt.Errorf("the server is gone: %w", err)
		}
		go func() { // ends with the target's connection, or with the session
			c, err := net.Dial("tcp", target)
			if err != nil {
				stream.Close()
				return
			}
			relay(c, stream)
		}()
	}
}

// relay copies both ways until both have ended, and closes both.
func relay(c net.Conn, stream *yamux.Stream) {
	var there sync.WaitGroup
	there.Go(func() { // ends with c
		io.Copy(stream, c)
		stream.Close() // for yamux the end of this direction
	})
	io.Copy(c, stream)
	if half, ok := c.(*net.TCPConn); ok {
		half.CloseWrite()
	}
	there.Wait()
	c.Close()
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
