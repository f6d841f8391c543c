package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue makes a certificate for localhost that a serial number tells from others.
func (a authority) issue(t *testing.T, serial int64) (certPEM, keyPEM []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// end is the files of one side.
type end struct {
	t *testing.T
	Files
}

func newEnd(t *testing.T) end {
	dir := t.TempDir()
	return end{t, Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Authorities: filepath.Join(dir, "ca.pem"), Flag: "--tls-ca"}}
}

func (e end) write(path string, data []byte) { require.NoError(e.t, os.WriteFile(path, data, 0o600)) }

func (e end) pair(cert, key []byte) {
	e.write(e.Cert, cert)
	e.write(e.Key, key)
}

// store loads the files and follows them; told has what it is told.
func (e end) store() (s *Store, told chan string) {
	set, err := Load(e.Files)
	require.NoError(e.t, err)
	s, told = NewStore(set), make(chan string, 10)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		s.Follow(ctx, func(set *Set, err error) {
			if err != nil {
				told <- err.Error()
				return
			}
			told <- set.String()
		})
	}()
	e.t.Cleanup(func() { cancel(); <-done })
	return s, told
}

// handshake is one between both stores; it returns the serial numbers that each
// side has seen.
func handshake(t *testing.T, server, client *tls.Config) (ofServer, ofClient int64, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	result := make(chan error, 1)
	go func() { // ends with the handshake, which has a deadline
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			tc := tls.Server(c, server)
			err = tc.Handshake()
			if peers := tc.ConnectionState().PeerCertificates; len(peers) > 0 {
				ofClient = peers[0].SerialNumber.Int64()
			}
			tc.Close()
		}
		result <- err
	}()
	c := client.Clone()
	c.ServerName = "localhost"
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Client(conn, c)
	if err = tc.Handshake(); err == nil {
		ofServer = tc.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
		tc.Read(make([]byte, 1)) // the server's word on our certificate comes with the first byte
	}
	conn.Close()
	if other := <-result; err == nil {
		err = other
	}
	return ofServer, ofClient, err
}

// TestRotation: handshakes have what the files hold, and what they held before as
// long as that is no good.
func TestRotation(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	server, client := newEnd(t), newEnd(t)
	server.pair(ours.issue(t, 1))
	server.write(server.Authorities, ours.pem)
	client.pair(ours.issue(t, 11))
	client.write(client.Authorities, ours.pem)
	s, toldServer := server.store()
	c, toldClient := client.store()
	serverConfig, clientConfig := s.Server(), c.Client()
	expect := func(wantServer, wantClient int64) {
		t.Helper()
		ofServer, ofClient, err := handshake(t, serverConfig, c.Client())
		require.NoError(t, err)
		require.Equal(t, wantServer, ofServer)
		require.Equal(t, wantClient, ofClient)
	}
	expect(1, 11)

	server.pair(ours.issue(t, 2))
	require.Contains(t, <-toldServer, server.Cert+", for localhost, valid until 20")
	expect(2, 11)
	client.pair(ours.issue(t, 12))
	require.Contains(t, <-toldClient, client.Cert)
	expect(2, 12)
	require.Same(t, clientConfig, c.Client(), "another certificate is no other configuration")

	// Half a pair, and half a file: the former stays.
	cert, key := ours.issue(t, 3)
	server.write(server.Cert, cert)
	require.Contains(t, <-toldServer, "--tls-cert "+server.Cert+", --tls-key "+server.Key+": tls: private key does not match public key")
	expect(2, 12)
	server.write(server.Key, key[:len(key)/2])
	require.Contains(t, <-toldServer, "--tls-cert "+server.Cert)
	expect(2, 12)
	require.NoError(t, os.Remove(server.Key))
	require.Contains(t, <-toldServer, "no such file")
	expect(2, 12)
	server.write(server.Key, key)
	<-toldServer
	expect(3, 12)

	// Another authority at the server: the client's certificate is no good any more.
	server.write(server.Authorities, []byte("nothing"))
	require.Equal(t, "--tls-ca "+server.Authorities+" holds no PEM certificate", <-toldServer)
	expect(3, 12)
	server.write(server.Authorities, theirs.pem)
	<-toldServer
	_, _, err := handshake(t, serverConfig, c.Client())
	require.ErrorContains(t, err, "unknown authority")
	client.pair(theirs.issue(t, 13))
	<-toldClient
	expect(3, 13)

	// And at the client: that takes another configuration.
	client.write(client.Authorities, theirs.pem)
	<-toldClient
	require.NotSame(t, clientConfig, c.Client())
	_, _, err = handshake(t, serverConfig, c.Client())
	require.ErrorContains(t, err, "unknown authority")
	server.pair(theirs.issue(t, 4))
	<-toldServer
	expect(4, 13)
}

// TestUse: other files take the place of all, and are followed then.
func TestUse(t *testing.T) {
	ours := newAuthority(t)
	first, second := newEnd(t), newEnd(t)
	first.pair(ours.issue(t, 1))
	first.write(first.Authorities, ours.pem)
	second.pair(ours.issue(t, 2))
	s, told := first.store()
	server := s.Server()
	trusting := &tls.Config{RootCAs: x509.NewCertPool()}
	trusting.RootCAs.AddCert(ours.cert)
	_, _, err := handshake(t, server, trusting)
	require.ErrorContains(t, err, "certificate", "the client has none")

	set, err := Load(Files{Cert: second.Cert, Key: second.Key})
	require.NoError(t, err)
	s.Use(set)
	serial, _, err := handshake(t, server, trusting)
	require.NoError(t, err)
	require.EqualValues(t, 2, serial)
	second.pair(ours.issue(t, 3))
	require.Contains(t, <-told, second.Cert)
	serial, _, err = handshake(t, server, trusting)
	require.NoError(t, err)
	require.EqualValues(t, 3, serial)
}

func TestLoad(t *testing.T) {
	ours := newAuthority(t)
	e := newEnd(t)
	set, err := Load(Files{})
	require.NoError(t, err)
	require.True(t, set.Empty())
	require.Empty(t, set.String())
	require.Nil(t, NewStore(set).Client().GetClientCertificate, "so that the log can say that there is none")
	steps := []struct {
		want string
		do   func()
	}{
		{"--tls-cert " + e.Cert + ", --tls-key " + e.Key + ": open " + e.Cert + ": no such file", func() {}},
		{": open " + e.Key + ": no such file", func() { e.write(e.Cert, nil) }},
		{": tls: failed to find any PEM data", func() { e.write(e.Key, nil) }},
		{"--tls-ca: open " + e.Authorities + ": no such file", func() { e.pair(ours.issue(t, 1)) }},
		{"--tls-ca " + e.Authorities + " holds no PEM certificate", func() { e.write(e.Authorities, []byte("x")) }},
		{"--tls-ca: " + e.Authorities + " is larger than 4194304 bytes", func() { e.write(e.Authorities, make([]byte, maxFile+1)) }},
	}
	for _, step := range steps {
		step.do()
		_, err := Load(e.Files)
		require.ErrorContains(t, err, step.want)
	}
	e.write(e.Authorities, ours.pem)
	set, err = Load(e.Files)
	require.NoError(t, err)
	require.False(t, set.Empty())
	require.Contains(t, set.String(), e.Authorities)
}
