package service

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

// DialTimeout bounds the dial of a target.
const DialTimeout = 10 * time.Second

// DialTarget connects to host:port. On failure the reason is what the user's
// reset will carry.
func DialTarget(ctx context.Context, address string) (net.Conn, wire.ResetReason, error) {
	d := net.Dialer{Timeout: DialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: !ownMachine(address), Idle: probeIdle, Interval: probeInterval, Count: probeCount,
	}}
	if !d.KeepAliveConfig.Enable {
		d.KeepAlive = -1
	}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		return conn, 0, nil
	}
	return nil, dialReason(ctx, err), err
}

// ownMachine reports whether a target is on this machine, whose system tells of
// the end of any program: its connections need no probes.
func ownMachine(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func dialReason(ctx context.Context, err error) wire.ResetReason {
	var ne net.Error
	switch {
	case ctx.Err() != nil:
		return wire.ResetShutdown
	case errors.Is(err, syscall.ECONNREFUSED):
		return wire.ResetRefused
	case errors.As(err, &ne) && ne.Timeout():
		return wire.ResetTimeout
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return wire.ResetInternal
	}
	return wire.ResetUnreachable
}
