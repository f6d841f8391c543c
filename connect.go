package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// pairing makes connections to a server pool. It never changes.
type pairing struct {
	cfg ClientConfig
	tls *tls.Config // of cfg.Security, made once; nil: plain
}

// connect dials and brings the connection to where it has its ID.
func (d *pairing) connect(ctx context.Context) (*entry, error) {
	conn, err := dialed(d.cfg.Dial(ctx))
	if err != nil {
		return nil, err
	}
	return d.secureAndName(ctx, conn)
}

// dialed checks what a dial function of somebody else's returned.
func dialed(conn net.Conn, err error) (net.Conn, error) {
	if err == nil && conn == nil {
		err = errors.New("the dialer returned neither a connection nor an error")
	}
	return conn, err
}

// secureAndName takes a dialed connection through TLS, proof and ID. It owns
// conn until it returns an entry.
func (d *pairing) secureAndName(ctx context.Context, conn net.Conn) (*entry, error) {
	tuneTCP(conn, d.cfg.KeepAlive)
	secured, err := d.cfg.Security.secure(ctx, conn, d.tls)
	if err != nil {
		return nil, err
	}
	e := newEntry(secured)
	secured.SetDeadline(time.Time{})
	// Closing works on every net.Conn, deadlines do not.
	stop := context.AfterFunc(ctx, func() { closeBelowTLS(secured) })
	id, err := formOfIDs(d.cfg.ShortIDs).read(secured)
	switch {
	case !stop():
		err = fmt.Errorf("read the connection's ID: %w", ctx.Err())
	case err != nil && !errors.Is(err, ErrBadID):
		err = readIDError(err)
	}
	if err != nil {
		closeBelowTLS(secured)
		return nil, err
	}
	e.named(id)
	return e, nil
}

func readIDError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the server closed the connection instead of naming it: %w", err)
	}
	return fmt.Errorf("read the connection's ID: %w", err)
}
