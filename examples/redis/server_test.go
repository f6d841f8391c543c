package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/testnet"
)

// startRedis runs a redis-server without persistence until the test ends, and
// returns its address.
func startRedis(t testing.TB, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	port, err := testnet.FreePort()
	require.NoError(t, err)
	server := exec.Command(program, append([]string{
		"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir(),
	}, args...)...)
	out, err := server.StdoutPipe()
	require.NoError(t, err)
	server.Stderr = server.Stdout
	require.NoError(t, server.Start())
	ready, ended := make(chan struct{}), make(chan struct{})
	var said bytes.Buffer
	go func() { // ends with the server, whose output it is
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(&said, lines.Text())
			if strings.Contains(lines.Text(), "Ready to accept") {
				close(ready)
			}
		}
	}()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-ended
		_ = server.Wait()
	})
	select {
	case <-ready:
	case <-ended:
		if strings.Contains(said.String(), "tls-port") {
			t.Skip("redis-server is built without TLS")
		}
		t.Fatalf("redis-server ended: %s", said.String())
	case <-time.After(20 * time.Second):
		t.Fatal("redis-server does not get ready")
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// direct sends a command on a connection of its own, beside any pool.
func direct(t testing.TB, address string, args ...string) any {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	reply, err := exchange(ctx, conn, args...)
	require.NoError(t, err)
	return reply
}

// others counts the connections at the server but for those of others itself.
func others(t testing.TB, address string) (n int) {
	t.Helper()
	list := string(direct(t, address, "CLIENT", "LIST").([]byte))
	for _, line := range strings.Split(strings.TrimSpace(list), "\n") {
		if !strings.Contains(line, "cmd=client") {
			n++
		}
	}
	return n
}

// writePair makes a certificate for 127.0.0.1 that vouches for itself.
func writePair(t *testing.T, certFile, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames: []string{"redis.example"}, IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "redis"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}
