package e2e

import (
	"crypto/tls"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// place is a directory whose files are replaced while programs use them.
type place struct {
	t   *testing.T
	dir string
}

func (p place) path(name string) string { return filepath.Join(p.dir, name) }

func (p place) put(name string, data []byte) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(p.path(name)+".new", data, 0o600))
	require.NoError(p.t, os.Rename(p.path(name)+".new", p.path(name)))
}

// copy puts what other files hold there; names and files in turn.
func (p place) copy(pairs ...string) {
	p.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		data, err := os.ReadFile(pairs[i+1])
		require.NoError(p.t, err)
		p.put(pairs[i], data)
	}
}

// shows waits until a server shows the certificate of a file.
func shows(t *testing.T, address, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	want, _ := pem.Decode(data)
	require.Eventually(t, func() bool {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw) == string(want.Bytes)
	}, patience, 20*time.Millisecond)
}

// TestCertificatesRotate: certificates of both ends, and in the end all trust, are
// replaced while users come all the time; each is served.
func TestCertificatesRotate(t *testing.T) {
	t.Parallel()
	d := openDesk(t, listenHere(t))
	first, second := newAuthority(t), newAuthority(t)
	site, pi := place{t, t.TempDir()}, place{t, t.TempDir()}
	issue := func(p place, a authority) (certFile string) {
		cert, key := a.sign(t, "localhost", allUsages...)
		p.copy("cert.pem", cert, "key.pem", key)
		return cert
	}
	issue(site, first)
	issue(pi, first)
	site.copy("ca.pem", first.file)
	pi.copy("ca.pem", first.file)
	server, address, key := startServer(t, "--tls", "2", "--tls-cert", site.path("cert.pem"), "--tls-key", site.path("key.pem"), "--tls-client-ca", site.path("ca.pem"))
	address = "localhost:" + portOf(t, address)
	client := startClient(t, key, address, "--tls", "2", "--tls-ca", pi.path("ca.pem"), "--tls-cert", pi.path("cert.pem"), "--tls-key", pi.path("key.pem"),
		"--pool-min", "4", "--pool-max", "8", "-R", "web=0:"+d.address) // a small pool, so that there are handshakes all the time
	public := client.public("web")
	users := gather(10*time.Millisecond, func() visit { return dialer(fromHere).call(public) })
	users.await(t, "one is served", served)

	shows(t, address, issue(site, first))
	server.line(`The certificates have changed: ` + site.path("cert.pem") + `, for localhost, valid until 20`)
	issue(pi, first)
	client.line(`The certificates have changed: ` + pi.path("cert.pem"))

	// Half a renewal is none.
	now, err := os.ReadFile(site.path("cert.pem"))
	require.NoError(t, err)
	cert, privateKey := first.sign(t, "localhost", allUsages...)
	site.copy("cert.pem", cert)
	server.line(`WARN +--tls-cert \S+, --tls-key \S+: tls: private key does not match public key; the certificates stay as they were`)
	shows(t, address, func() string { site.put("former.pem", now); return site.path("former.pem") }())
	site.copy("key.pem", privateKey)
	shows(t, address, cert)

	// All trust moves to another authority: first both are trusted.
	roots := func(authorities ...authority) (all []byte) {
		for _, a := range authorities {
			data, err := os.ReadFile(a.file)
			require.NoError(t, err)
			all = append(all, data...)
		}
		return all
	}
	site.put("ca.pem", roots(first, second))
	pi.put("ca.pem", roots(first, second))
	server.line(`The certificates have changed: \S+cert.pem.*; ` + site.path("ca.pem"))
	client.line(`The configuration has changed; joining`)
	shows(t, address, issue(site, second))
	issue(pi, second)
	require.Eventually(t, func() bool { return client.count("The certificates have changed") >= 3 }, patience, time.Millisecond)
	site.put("ca.pem", roots(second))
	pi.put("ca.pem", roots(second))
	require.Eventually(t, func() bool { return client.count("The configuration has changed; joining") >= 2 }, patience, time.Millisecond)
	users.await(t, "one came after all of that", func(v visit) bool { return served(v) && v.begun.After(time.Now().Add(-time.Second)) })
	visits := users.disperse()
	d.requireAllServed(t, visits)
	t.Log(figures(visits))
	require.Zero(t, client.count("refused"), client.text())
}

// TestKeyRotates: first at the client, which keeps its session until the server
// has the key too.
func TestKeyRotates(t *testing.T) {
	t.Parallel()
	site, pi := place{t, t.TempDir()}, place{t, t.TempDir()}
	former, next := newKey(), newKey()
	site.put("key", []byte(former+"\n"))
	pi.put("key", []byte(former+"\n"))
	server := newHost(t, "").start("tunnel-server", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1", "--key-file", site.path("key"))
	address := server.line(listening)[1]
	client := newHost(t, "").start("tunnel-client", "--server", address, "--key-file", pi.path("key"), "-R", "web=0:"+web(t, "a page"))
	public := client.public("web")

	pi.put("key", []byte("no key\n"))
	client.line(`WARN +\S+key: malformed key: .*; the key stays as it was`)
	pi.put("key", []byte(next+"\n"))
	client.line(`The key has changed, \S+key: key [0-9a-f]{16}`)
	require.Equal(t, "a page", fetch(t, public))
	site.put("key", []byte(next+"\n"))
	server.line(`The tunnel's own key has changed, \S+key: key [0-9a-f]{16}`)
	require.Eventually(t, func() bool { return client.count(`"web" is up: `) >= 2 }, 2*patience, time.Millisecond)
	all := client.text() + server.text()
	require.NotContains(t, all, former)
	require.NotContains(t, all, next)
}
