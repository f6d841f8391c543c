package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/tunnelpool/pool"
)

// Config says how a Client asks its server.
type Config struct {
	Server      string        // HOST:PORT
	Connections int           // at most so many at once
	MaxUses     int           // requests after which a connection is retired; 0: never
	Timeout     time.Duration // for a whole answer, from its request on
	MaxAnswer   int           // bytes
	Check       string        // type of a cheap request whose answer, whatever it says, proves a connection alive; "": none
}

// Client asks a server over pooled connections. It is safe for concurrent use.
type Client struct {
	pool *pool.Pool
	cfg  Config
}

// request is what the server reads.
type request struct {
	Type   string          `json:"type"`
	Params json.RawMessage `json:"params,omitempty"`
}

// ServerError is the server's own word that a request failed. The connection
// is as good as before.
type ServerError struct{ Message string }

func (e *ServerError) Error() string { return "the server says: " + excerpt([]byte(e.Message)) }

// NewClient makes a Client, which is ended by Close. It begins to connect at
// once.
func NewClient(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg}
	var err error
	if c.pool, err = pool.NewLocal(c.poolConfig()); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Client) poolConfig() pool.LocalConfig {
	cfg := pool.LocalConfig{
		Address:        c.cfg.Server,
		ConnectTimeout: c.cfg.Timeout,
		Limits:         pool.Limits{MaxOpen: c.cfg.Connections, MaxUses: c.cfg.MaxUses, AcquireTimeout: 2 * c.cfg.Timeout},
	}
	if c.cfg.Check != "" { // most servers of the kind have nothing to ask that is cheap
		prove := func(ctx context.Context, conn *pool.Conn) error {
			_, err := c.exchange(ctx, conn, request{Type: c.cfg.Check})
			return err
		}
		cfg.Setup, cfg.Check = prove, prove // when it is new, and while it is idle
	}
	return cfg
}

// Close closes all connections and waits for their end.
func (c *Client) Close() { c.pool.Close() }

// Reach tells at once whether the server can be reached, and why not. Call would
// wait for it to come back.
func (c *Client) Reach(ctx context.Context) error {
	conn, err := c.pool.Fresh(ctx)
	if err == nil {
		c.pool.Put(conn.ID(), conn)
	}
	return err
}

// Call sends a request and returns the result, nil if there is none. A request that failed is not
// sent again: the server may have carried it out. Errors are *ServerError, the
// server's own; *AnswerError, an answer that is none or too late; or those of
// the pool and of the network.
func (c *Client) Call(ctx context.Context, kind string, params json.RawMessage) (json.RawMessage, error) {
	var result json.RawMessage
	err := c.pool.Do(ctx, func(conn net.Conn) error {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
		a, err := c.exchange(ctx, conn, request{kind, params})
		if err != nil {
			return err // the pool discards the connection
		}
		if a.Status == "error" {
			return pool.Keep(&ServerError{a.Message})
		}
		result = a.Result
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return result, nil
}

// exchange sends one request and reads its answer. After an error nobody knows
// where on the connection the next answer begins.
func (c *Client) exchange(ctx context.Context, conn net.Conn, req request) (answer, error) {
	text, err := json.Marshal(req)
	if err != nil {
		return answer{}, pool.Keep(err) // nothing was sent
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) // ends reads and writes
	_, err = conn.Write(text)
	var a answer
	if err == nil {
		a, err = readAnswer(conn, c.cfg.MaxAnswer)
	}
	if !stop() {
		return answer{}, &AnswerError{Problem: "no whole answer in time", Err: context.Cause(ctx)}
	}
	return a, err
}
