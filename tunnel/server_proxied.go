package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/proxyheader"
	"github.com/tunnelpool/pool/internal/relay"
)

// headerWait is how long a trusted proxy may take to say whom it speaks for.
const headerWait = 5 * time.Second

// proxies are those whose word for a user's address is taken.
type proxies struct {
	wait       time.Duration // for a header
	headerless atomic.Uint64 // users without a header
	told       seldom        // paces what is logged of them
}

// proxySpeaks reports whether conn is a trusted proxy's, for a user whose address
// its header gives.
func (s *Server) proxySpeaks(conn net.Conn) bool {
	trusted := s.cfg.Load().proxies
	if trusted.Anywhere() { // nowhere, that is
		return false
	}
	_, tcp := conn.(*net.TCPConn)
	return tcp && trusted.Allow(conn.RemoteAddr())
}

// proxiedUser is a user who came by a proxy. What relay wants of a socket, it
// finds there.
type proxiedUser struct {
	*net.TCPConn
	address net.Addr
}

func (u *proxiedUser) RemoteAddr() net.Addr { return u.address }
func (u *proxiedUser) NetConn() net.Conn    { return u.TCPConn }

// introduce returns the user with the address that a trusted proxy gives in its
// header, which it must send at once. Nil: it did not, or the service does not let
// users in from there, and it was reset.
func (s *Server) introduce(sv *published, conn net.Conn) net.Conn {
	if !s.proxySpeaks(conn) {
		return s.admitted(sv, conn, conn)
	}
	conn.SetReadDeadline(time.Now().Add(s.proxies.wait))
	stop := context.AfterFunc(s.streams, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	user, err := proxyheader.Read(conn)
	if !stop() && err == nil {
		err = context.Cause(s.streams)
	}
	if err != nil {
		s.notIntroduced(sv, conn.RemoteAddr(), err)
		relay.Reset(conn)
		return nil
	}
	conn.SetReadDeadline(time.Time{})
	introduced := conn // the proxy speaks for itself, or does not know
	if user.IsValid() {
		introduced = &proxiedUser{conn.(*net.TCPConn), net.TCPAddrFromAddrPort(user)}
	}
	return s.admitted(sv, introduced, conn)
}

// admitted returns the user on conn if it may come from where it comes from, else
// nil, and it was reset.
func (s *Server) admitted(sv *published, user, conn net.Conn) net.Conn {
	if sv.from.allow(user.RemoteAddr()) {
		return user
	}
	s.fromElsewhere(user.RemoteAddr(), sv.public.Addr())
	relay.Reset(conn)
	return nil
}

// notIntroduced counts a connection of a trusted proxy without a header, and
// tells of it now and then. One that says nothing and leaves is how proxies look
// whether a port is open.
func (s *Server) notIntroduced(sv *published, proxy net.Addr, err error) {
	switch {
	case err == io.EOF, errors.Is(err, syscall.ECONNRESET), s.streams.Err() != nil:
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("no whole PROXY header within %v", s.proxies.wait)
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the connection ended in the PROXY header")
	}
	s.proxies.headerless.Add(1)
	if muted, ok := s.proxies.told.pass(time.Now()); ok {
		pool.Tell(s.log, slog.LevelWarn, "proxy_header_missing", sv.ofService("proxy", proxy, "error", err, "muted", muted),
			"%s: a user by the proxy %s is reset: %s; who is in --trust-proxy must send a header of the PROXY protocol%s",
			sv.label(), proxy, quoteSafe(err.Error()), mutedNote(muted))
	}
}
