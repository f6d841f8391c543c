//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/testnet"
)

// sshd is a real sshd on loopback that lets this user in with one key, and all of
// its files in a directory of its own: "key", "known_hosts".
type sshd struct {
	t       *testing.T
	dir     string
	address string
	config
	pid int
	log *lockedBuffer
}

func startSSHD(t *testing.T) *sshd {
	t.Helper()
	program := sshdProgram(t)
	if os.Getuid() == 0 {
		require.NoError(t, os.MkdirAll("/run/sshd", 0o755)) // it wants that of root
	}
	port, err := testnet.FreePort()
	require.NoError(t, err)
	me, err := user.Current()
	require.NoError(t, err)
	s := &sshd{t: t, dir: t.TempDir(), address: net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), log: new(lockedBuffer)}

	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	host := s.newKey("host", newEd25519(t))
	s.newKey("host-ecdsa", curve) // in no known_hosts
	key := s.newKey("key", newEd25519(t))
	s.file("known_hosts", knownhosts.Line([]string{s.address}, host.PublicKey())+"\n")
	s.file("authorized_keys", string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	s.file("sshd_config", strings.NewReplacer("PORT", strconv.Itoa(int(port)), "DIR", s.dir).Replace(`
ListenAddress 127.0.0.1:PORT
HostKey DIR/host
HostKey DIR/host-ecdsa
AuthorizedKeysFile DIR/authorized_keys
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv HOME=DIR
MaxStartups 100
LogLevel VERBOSE
`)) // the shell's start-up files in another HOME might take long
	s.config = config{address: s.address, user: me.Username, key: key, knownHosts: s.path("known_hosts"), connections: 5}

	args := []string{"-f", s.path("sshd_config")}
	if patient := append(args, "-o", "PerSourcePenalties=no"); exec.Command(program, append(patient, "-t")...).Run() == nil {
		args = patient // one that knows it would turn away whom a test makes fail
	}
	c := exec.Command(program, append(args, "-D", "-e")...)
	c.Stdout, c.Stderr = s.log, s.log
	c.WaitDelay = time.Second // a connection that a test left open would hold them
	require.NoError(t, c.Start())
	s.pid = c.Process.Pid
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("sshd:\n%s", s.log)
		}
	})
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "Server listening on") },
		20*time.Second, 10*time.Millisecond, "sshd does not come up")
	return s
}

// sshdProgram finds sshd, which wants to be called by its whole path.
func sshdProgram(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"sshd", "/usr/sbin/sshd", "/usr/local/sbin/sshd"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	t.Skip("no sshd: apt install openssh-server")
	return ""
}

func (s *sshd) path(name string) string { return filepath.Join(s.dir, name) }

func (s *sshd) file(name, text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.path(name), []byte(text), 0o600))
}

func newEd25519(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return private
}

// newKey keeps a private key in a file.
func (s *sshd) newKey(name string, private any) ssh.Signer {
	s.t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(s.t, err)
	s.file(name, string(pem.EncodeToMemory(block)))
	key, err := ssh.NewSignerFromKey(private)
	require.NoError(s.t, err)
	return key
}

// pool is one of the sshd's, closed with the test.
func (s *sshd) pool() *pool.Pool {
	s.t.Helper()
	p, err := newPool(s.config)
	require.NoError(s.t, err)
	s.t.Cleanup(p.Close)
	return p
}

// logins is how many sshd has let in.
func (s *sshd) logins() int { return strings.Count(s.log.String(), "Accepted publickey for ") }

// output runs a command and returns what it printed, without its last line's end.
func (s *sshd) output(p *pool.Pool, line string) (string, error) {
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	r := command{line: line, stdout: &out}.run(ctx, p)
	return strings.TrimSuffix(out.String(), "\n"), r.err
}

// prints runs a command that must succeed and print this.
func (s *sshd) prints(p *pool.Pool, line, want string) {
	s.t.Helper()
	if got, err := s.output(p, line); err != nil || got != want {
		s.t.Errorf("%s printed %q, %v", line, got, err)
	}
}

// lockedBuffer is written while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
