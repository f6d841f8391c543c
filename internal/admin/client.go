package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tunnelpool/pool/internal/status"
)

// askTimeout bounds a question over the control socket.
const askTimeout = 10 * time.Second

// maxAnswer bounds an answer: a report of some ten thousand services.
const maxAnswer = 64 << 20

// Client asks a program that runs.
type Client struct {
	path string // of the socket
	http http.Client
}

// Control makes a Client of the program of that name that runs with the state
// directory. It connects when it is asked.
func Control(stateDir, program string) *Client {
	c := &Client{path: ControlPath(stateDir, program)}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.path)
		},
	}
	return c
}

// Close ends the connection that is kept.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ErrNotRunning: nobody listens on the socket.
var ErrNotRunning = errors.New("nothing answers there")

// RefusedError is why a server does not take its keys.
type RefusedError struct{ Reason string }

func (r *RefusedError) Error() string { return r.Reason }

// Report asks for the status.
func (c *Client) Report(ctx context.Context) (status.Report, error) {
	var r status.Report
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := c.get(ctx, "/api/v1/status")
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&r); err != nil {
		return r, fmt.Errorf("%s: what answers there is no program of this version: %w", c.path, err)
	}
	return r, nil
}

// ReloadKeys has a running server read its keys, and returns when they are in
// effect.
func (c *Client) ReloadKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := c.do(ctx, http.MethodPost, "/keys/reload")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	switch {
	case err != nil:
		return err
	case r.StatusCode != http.StatusOK:
		return &RefusedError{strings.TrimSpace(string(answer))}
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string) (*http.Response, error) {
	return c.do(ctx, http.MethodGet, path)
}

func (c *Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	if len(c.path) > maxSocketPath { // then the program has none
		return nil, fmt.Errorf("%s: %w", c.path, ErrTooLong)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://control"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	switch {
	case err == nil:
		return resp, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be opened by this user: run this as the program's user, or as root", c.path)
	case errors.Is(err, fs.ErrNotExist), nobodyListens(err):
		return nil, fmt.Errorf("%s: %w", c.path, ErrNotRunning)
	}
	return nil, fmt.Errorf("%s: %w", c.path, err)
}
