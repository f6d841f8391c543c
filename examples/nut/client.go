package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/tunnelpool/pool"
)

// answerTimeout bounds one question and its answer, and before that the wait for a
// connection.
const answerTimeout = 5 * time.Second

// config says how to reach upsd. Queries need no user.
type config struct {
	server         string // host:port
	user, password string
	connections    int // at most
}

// client asks one upsd, over pooled connections. Safe for concurrent use.
type client struct{ pool *pool.Pool }

func newClient(cfg config) (*client, error) {
	p, err := pool.NewLocal(pool.LocalConfig{
		Address: cfg.server,
		Setup:   cfg.greet,
		Check:   check,
		Goodbye: goodbye,
		// upsd ends a connection on which it heard nothing for a minute.
		CheckEvery: 20 * time.Second,
		Limits:     pool.Limits{MaxOpen: cfg.connections, AcquireTimeout: answerTimeout},
	})
	if err != nil {
		return nil, err
	}
	return &client{p}, nil
}

// Close says LOGOUT on the idle connections and ends them.
func (c *client) Close() { c.pool.Close() }

// Reach tells at once whether upsd can be asked, and why not. A query would wait
// for it to come back, as long as AcquireTimeout says.
func (c *client) Reach(ctx context.Context) error {
	conn, err := c.pool.Fresh(ctx)
	if err == nil {
		c.pool.Put(conn.ID(), conn)
	}
	return err
}

// greet is what every connection begins with.
func (cfg config) greet(ctx context.Context, conn *pool.Conn) error {
	if err := check(ctx, conn); err != nil {
		return fmt.Errorf("is this an upsd? %w", err)
	}
	if cfg.user == "" {
		return nil
	}
	s := newSession(conn)
	if err := s.do("USERNAME", cfg.user); err != nil {
		return err
	}
	return s.do("PASSWORD", cfg.password)
}

// check asks for the protocol's version, which costs upsd nothing.
func check(_ context.Context, conn *pool.Conn) error {
	_, err := newSession(conn).ask("NETVER")
	return err
}

func goodbye(_ context.Context, conn *pool.Conn) error { return newSession(conn).do("LOGOUT") }

// query runs f on a pooled connection. Of f's errors a refusal is none of the
// connection's: others go on using it. With any other nobody knows what the
// next bytes on it would be, and the pool closes it.
func (c *client) query(ctx context.Context, f func(*session) error) error {
	return c.pool.Do(ctx, func(conn net.Conn) error {
		err := talk(ctx, conn, f)
		var refused *refusal
		if errors.As(err, &refused) {
			return pool.Keep(err)
		}
		return err
	})
}

// talk runs f on conn for answerTimeout at most, and no longer than ctx.
func talk(ctx context.Context, conn net.Conn, f func(*session) error) error {
	_ = conn.SetDeadline(time.Now().Add(answerTimeout)) // fails where f's reads do
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err := f(newSession(conn))
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// Var returns the value of one of a UPS's variables.
func (c *client) Var(ctx context.Context, ups, name string) (value string, err error) {
	err = c.query(ctx, func(s *session) error {
		value, err = s.get("VAR", ups, name)
		return err
	})
	return value, err
}

// variable is one of a UPS's, by name.
type variable struct{ name, value string }

// Vars returns all of a UPS's variables, in upsd's order.
func (c *client) Vars(ctx context.Context, ups string) (all []variable, err error) {
	err = c.query(ctx, func(s *session) error {
		rows, err := s.list("VAR", ups)
		for _, row := range rows {
			if len(row) != 2 {
				return fmt.Errorf("upsd answered LIST VAR with a row of %d words", len(row))
			}
			all = append(all, variable{row[0], row[1]})
		}
		return err
	})
	return all, err
}

// login is a log-in at a UPS: upsd counts us among those that it feeds, for whom
// the machine that shuts it down waits.
type login struct {
	client *client
	conn   *pool.Conn
	ups    string
}

// Login logs in on a connection of its own. A log-in lasts as long as its
// connection: on a pooled one it would outlive its use, and be anybody's.
func (c *client) Login(ctx context.Context, ups string) (*login, error) {
	conn, err := c.pool.Fresh(ctx)
	if err != nil {
		return nil, err
	}
	l := &login{c, conn, ups}
	err = talk(ctx, conn, func(s *session) error { return s.do("LOGIN", ups) })
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Count returns how many are logged in at the UPS. It is also what upsd must hear
// at least once a minute for the log-in to last.
func (l *login) Count(ctx context.Context) (n int, err error) {
	err = talk(ctx, l.conn, func(s *session) error {
		n, err = s.logins(l.ups)
		return err
	})
	return n, err
}

func (s *session) logins(ups string) (int, error) {
	value, err := s.get("NUMLOGINS", ups)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(value)
}

// Close logs out. The pool closes what Fresh made, and never keeps it.
func (l *login) Close() { l.client.pool.Put(l.conn.ID(), l.conn) }
