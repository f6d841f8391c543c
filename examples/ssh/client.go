package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/tunnelpool/pool"
)

// config says where to log in, as whom, and whom to believe that it is there.
type config struct {
	address     string // host:port
	user        string
	key         ssh.Signer
	knownHosts  string        // a file
	connections int           // at most
	wait        time.Duration // for one of them, at most; 0: 30 s
	onConn      func(pool.ConnEvent)
}

// newPool makes a pool of connections that are logged in. What lives on each is
// an *ssh.Client, which the holder has from [pool.ValueOf].
func newPool(cfg config) (*pool.Pool, error) {
	client, err := cfg.client()
	if err != nil {
		return nil, err
	}
	return pool.NewLocal(pool.LocalConfig{
		Address: cfg.address,
		Setup: func(_ context.Context, conn *pool.Conn) error {
			c, channels, requests, err := ssh.NewClientConn(conn, cfg.address, client)
			if err != nil {
				return err
			}
			conn.SetValue(ssh.NewClient(c, channels, requests)) // reads until the connection ends
			return nil
		},
		Check:   check,
		Goodbye: func(_ context.Context, conn *pool.Conn) error { return clientOf(conn).Close() },
		OnConn:  cfg.onConn,
		Limits:  pool.Limits{MaxOpen: cfg.connections, AcquireTimeout: cfg.wait},
	})
}

// check asks what every server answers, if only to say that it does not know it.
func check(_ context.Context, conn *pool.Conn) error {
	_, _, err := clientOf(conn).SendRequest("keepalive@openssh.com", true, nil)
	return err
}

// clientOf returns what Setup left on conn, which is one of our pool.
func clientOf(conn net.Conn) *ssh.Client {
	client, _ := pool.ValueOf[*ssh.Client](conn)
	return client
}

// client is what all connections have in common.
func (cfg config) client() (*ssh.ClientConfig, error) {
	known, err := knownhosts.New(cfg.knownHosts)
	if err != nil {
		return nil, fmt.Errorf("no host key is known: %w", err)
	}
	return &ssh.ClientConfig{
		User: cfg.user,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(cfg.key)},
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			return cfg.explain(known(host, remote, key), key)
		},
		HostKeyAlgorithms: algorithms(known, cfg.address),
	}, nil
}

// explain says what a host key that is not believed means.
func (cfg config) explain(err error, key ssh.PublicKey) error {
	var wrong *knownhosts.KeyError
	switch {
	case !errors.As(err, &wrong):
		return err
	case len(wrong.Want) == 0:
		return fmt.Errorf("%s does not know the host key of %s (%s): if that is its key, add this line: %s",
			cfg.knownHosts, cfg.address, ssh.FingerprintSHA256(key), knownhosts.Line([]string{cfg.address}, key))
	}
	return fmt.Errorf("the host key of %s (%s) is not the one in %s:%d: it was changed, or somebody sits between",
		cfg.address, ssh.FingerprintSHA256(key), wrong.Want[0].Filename, wrong.Want[0].Line)
}

// algorithms are those of the keys that are known for address. A server has keys
// of several kinds and shows one: unasked it might be one that we do not know.
func algorithms(known ssh.HostKeyCallback, address string) (names []string) {
	nobodys, _ := ssh.NewPublicKey(make(ed25519.PublicKey, ed25519.PublicKeySize))
	var wrong *knownhosts.KeyError
	if errors.As(known(address, &net.TCPAddr{}, nobodys), &wrong) {
		for _, k := range wrong.Want {
			if k.Key.Type() == ssh.KeyAlgoRSA {
				names = append(names, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			} else {
				names = append(names, k.Key.Type())
			}
		}
	}
	return names // none: whatever is usual
}

// command is one for the shell of the other machine.
type command struct {
	line           string
	timeout        time.Duration // 0: none. Waiting for a connection does not count
	stdout, stderr io.Writer     // nil: thrown away
}

// result is what became of a command.
type result struct {
	connection   string // the ID of the one that it ran on
	waited, took time.Duration
	err          error // an *ssh.ExitError if it failed by itself
}

// errTimeout: a command took longer than its timeout.
var errTimeout = errors.New("the command took too long and was killed")

// grace is how long a command that was killed may take to end, before its connection does.
const grace = time.Second

// run runs the command on a pooled connection. That it fails by itself is no
// reason to end the connection; that it does not end in time is: who knows what
// still comes.
func (c command) run(ctx context.Context, p *pool.Pool) (r result) {
	began := time.Now()
	r.err = p.Do(ctx, func(conn net.Conn) error {
		r.connection, r.waited = conn.(*pool.Conn).ID(), time.Since(began)
		began = time.Now()
		err := c.on(ctx, conn)
		r.took = time.Since(began)
		var failed *ssh.ExitError
		if errors.As(err, &failed) {
			return pool.Keep(err)
		}
		return err
	})
	return r
}

// on runs the command on conn until ctx ends or it took too long.
func (c command) on(ctx context.Context, conn net.Conn) error {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("%w: more than %v", errTimeout, c.timeout))
		defer cancel()
	}
	var running atomic.Pointer[ssh.Session]
	stop := context.AfterFunc(ctx, func() {
		// The client reads all the time, so that this ends it and whoever waits for it.
		_ = conn.SetDeadline(time.Now().Add(grace))
		if s := running.Load(); s != nil {
			_ = s.Signal(ssh.SIGKILL) // sshd passes it on, but not to who logged in as root
		}
	})
	err := c.in(clientOf(conn), &running)
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

func (c command) in(client *ssh.Client, running *atomic.Pointer[ssh.Session]) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	running.Store(session)
	session.Stdout, session.Stderr = c.stdout, c.stderr
	return session.Run(c.line)
}
