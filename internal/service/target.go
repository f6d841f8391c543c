package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/tunnelpool/pool/internal/wire"
)

// UnixScheme begins the address of a target that listens on a Unix socket; the
// socket's path follows.
const UnixScheme = "unix:"

// maxSocketPath is the longest path of a Unix socket that every system takes.
const maxSocketPath = 103

// CheckSocketPath refuses what a target's Unix socket cannot be called. A comma
// would begin the next target, and '=' end a service's name.
func CheckSocketPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("the path %q of the Unix socket does not begin with '/'", path)
	case len(path) > maxSocketPath:
		return fmt.Errorf("the path of the Unix socket has %d bytes; systems take %d", len(path), maxSocketPath)
	}
	for _, r := range path {
		if r == ',' || r == '=' || r == utf8.RuneError || !strconv.IsPrint(r) {
			return fmt.Errorf("the path %q of the Unix socket has a ',', a '=' or a character that does not print", path)
		}
	}
	return nil
}

// DialTarget connects to host:port, or to a Unix socket, and gives up after
// timeout. On failure the reason is what the user's reset will carry.
func DialTarget(ctx context.Context, address string, timeout time.Duration) (net.Conn, wire.ResetReason, error) {
	conn, err := dialTarget(ctx, address, timeout)
	if err == nil {
		return conn, 0, nil
	}
	return nil, DialReason(ctx, err), err
}

func dialTarget(ctx context.Context, address string, timeout time.Duration) (net.Conn, error) {
	if path, ok := strings.CutPrefix(address, UnixScheme); ok {
		return dialUnix(ctx, path, timeout)
	}
	d := net.Dialer{Timeout: timeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: !ownMachine(address), Idle: probeIdle, Interval: probeInterval, Count: probeCount,
	}}
	if !d.KeepAliveConfig.Enable {
		d.KeepAlive = -1
	}
	return d.DialContext(ctx, "tcp", address)
}

// dialUnix connects to a Unix socket. If its queue is full the system does not
// wait for room, as it does with TCP, so this does.
func dialUnix(ctx context.Context, path string, timeout time.Duration) (net.Conn, error) {
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, maxPause) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-limit.C:
			again.Stop()
			return nil, fmt.Errorf("%w: %w", err, os.ErrDeadlineExceeded)
		case <-ctx.Done():
			again.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// ownMachine reports whether a target is on this machine, whose system tells of
// the end of any program: its connections need no probes.
func ownMachine(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// DialReason is what a user is told of a dial that failed.
func DialReason(ctx context.Context, err error) wire.ResetReason {
	var ne net.Error
	switch {
	case ctx.Err() != nil:
		return wire.ResetShutdown
	case errors.Is(err, syscall.ECONNREFUSED):
		return wire.ResetRefused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return wire.ResetTimeout
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return wire.ResetInternal
	}
	return wire.ResetUnreachable
}
