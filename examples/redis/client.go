package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tunnelpool/pool"
)

// Login is what a connection says first.
type Login struct {
	User, Password string // no password: no AUTH
	DB             int
}

// Client sends commands over pooled connections. It is safe for concurrent use.
type Client struct {
	pool    *pool.Pool
	timeout time.Duration
}

// NewClient makes a Client of a pool like cfg, which must have no hooks. A reply
// may take so long. It begins to connect at once, and is ended by Close.
func NewClient(cfg pool.LocalConfig, login Login, timeout time.Duration) (*Client, error) {
	cfg.Setup = func(ctx context.Context, conn *pool.Conn) error { return login.run(ctx, conn) }
	cfg.Check = func(ctx context.Context, conn *pool.Conn) error { return expect(ctx, conn, "PONG", "PING") }
	cfg.Goodbye = func(ctx context.Context, conn *pool.Conn) error { return expect(ctx, conn, "OK", "QUIT") }
	p, err := pool.NewLocal(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{p, timeout}, nil
}

// Close says QUIT on the idle connections, and closes all.
func (c *Client) Close() { c.pool.Close() }

// Reach tells at once whether the server lets anybody in, and why not. Do would
// wait for it to come back, as long as AcquireTimeout says.
func (c *Client) Reach(ctx context.Context) error {
	conn, err := c.pool.Fresh(ctx)
	if err == nil {
		c.pool.Put(conn.ID(), conn)
	}
	return err
}

// run logs in. Its PING hears of what Redis says to who may not come in, or is
// one too many: it would be taken for the reply to somebody's command.
func (l Login) run(ctx context.Context, conn net.Conn) error {
	if l.Password != "" {
		auth := []string{"AUTH", l.User, l.Password}
		if l.User == "" {
			auth = []string{"AUTH", l.Password} // as Redis before version 6 knows it
		}
		if err := expect(ctx, conn, "OK", auth...); err != nil {
			return err
		}
	}
	if err := expect(ctx, conn, "PONG", "PING"); err != nil || l.DB == 0 {
		return err
	}
	return expect(ctx, conn, "OK", "SELECT", strconv.Itoa(l.DB))
}

// Do sends a command and returns its reply: a string, []byte, int64, []any or
// nil. An error reply is an Error. A command that failed otherwise is not sent
// again: the server may have carried it out.
func (c *Client) Do(ctx context.Context, args ...string) (any, error) {
	if err := shareable(args); err != nil {
		return nil, err
	}
	var reply any
	err := c.pool.Do(ctx, func(conn net.Conn) error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		var err error
		reply, err = exchange(ctx, conn, args...)
		if refused := Error(""); errors.As(err, &refused) {
			return pool.Keep(err)
		}
		return err // unless nil, the pool discards the connection
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return reply, nil
}

// expect sends a command that has one good reply.
func expect(ctx context.Context, conn net.Conn, want string, args ...string) error {
	reply, err := exchange(ctx, conn, args...)
	if err == nil && reply != want {
		err = fmt.Errorf("%w: not %s", errProtocol, want)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// exchange sends a command and reads its reply, until ctx ends.
func exchange(ctx context.Context, conn net.Conn, args ...string) (any, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) // ends reads and writes
	_, err := conn.Write(appendCommand(nil, args...))
	var reply any
	if err == nil {
		reply, err = readReply(conn)
	}
	if !stop() {
		return nil, fmt.Errorf("no whole reply in time: %w", context.Cause(ctx))
	}
	if refused, ok := reply.(Error); ok && err == nil {
		return nil, refused
	}
	return reply, err
}

// stateful are commands after which a connection is another than before, for
// whoever gets it next, or answers with more than one reply.
var stateful = map[string]string{
	"AUTH": "give the password by file or environment", "SELECT": "use --db",
	"HELLO": "", "RESET": "", "QUIT": "", "ASKING": "", "READONLY": "", "READWRITE": "",
	"MULTI": "use EVAL", "EXEC": "use EVAL", "DISCARD": "", "WATCH": "use EVAL", "UNWATCH": "",
	"SUBSCRIBE": "", "PSUBSCRIBE": "", "SSUBSCRIBE": "", "UNSUBSCRIBE": "", "PUNSUBSCRIBE": "", "SUNSUBSCRIBE": "",
	"MONITOR": "", "SYNC": "", "PSYNC": "",
	"CLIENT REPLY": "", "CLIENT TRACKING": "", "CLIENT CACHING": "", "CLIENT SETNAME": "", "CLIENT NO-EVICT": "", "CLIENT NO-TOUCH": "",
}

// shareable refuses commands that need a connection of one's own.
func shareable(args []string) error {
	if len(args) == 0 {
		return errors.New("the command is missing; --help shows what there is")
	}
	for n := 1; n <= min(len(args), 2); n++ {
		name := strings.ToUpper(strings.Join(args[:n], " "))
		if hint, found := stateful[name]; found {
			if hint != "" {
				hint = "; " + hint
			}
			return fmt.Errorf("%s would change a connection that others use too%s", name, hint)
		}
	}
	return nil
}
