package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tunnelpool/pool/internal/wire"
)

const (
	// missesUntilUnwell is how many checks in a row fail until a target is taken
	// out, the later ones after missRepeat; one that succeeds brings it back.
	missesUntilUnwell = 2
	missRepeat        = time.Second

	maxHealthHeader = 64 << 10 // bytes of a target's answer
)

// Check is how the health of a target is found out.
type Check struct {
	path     string // of a GET; empty: that it can be connected to is enough
	Interval time.Duration
	Timeout  time.Duration // of one check
	Preface  []byte        // what every connection to the target begins with
}

var errCheck = errors.New(`want "tcp" or "http:/PATH"`)

// ParseCheck reads "tcp", or "http:" and the path of a page whose status is 200
// to 399 if all is well.
func ParseCheck(text string) (Check, error) {
	if text == "tcp" {
		return Check{}, nil
	}
	path, ok := strings.CutPrefix(text, "http:")
	if !ok || !strings.HasPrefix(path, "/") {
		return Check{}, errCheck
	}
	for _, r := range path {
		if r <= ' ' || r > '~' {
			return Check{}, fmt.Errorf("the path %q has a character that belongs in no path; %w", path, errCheck)
		}
	}
	if _, err := url.ParseRequestURI(path); err != nil {
		return Check{}, fmt.Errorf("the path %q is none; %w", path, errCheck)
	}
	return Check{path: path}, nil
}

// Watch checks each target now and then, beginning at once, until ctx ends.
func (t *Targets) Watch(ctx context.Context, c Check) {
	t.watch(ctx, c.Interval, c.Once)
}

// watch asks each target how it is. how returns nil of one that is well.
func (t *Targets) watch(ctx context.Context, interval time.Duration, how func(ctx context.Context, address string) *Failure) {
	var watching sync.WaitGroup
	defer watching.Wait()
	for _, p := range t.all {
		watching.Go(func() { // ends with ctx
			pause := time.NewTimer(0)
			defer pause.Stop()
			for misses := 0; ; {
				select {
				case <-pause.C:
				case <-ctx.Done():
					return
				}
				why := how(ctx, p.address)
				next := jitter(interval)
				switch {
				case ctx.Err() != nil:
					return
				case why != nil && why.Reason == wire.ResetInternal: // this machine's own trouble
				case why == nil:
					misses = 0
					t.checked(p, nil)
				case misses+1 >= missesUntilUnwell:
					t.checked(p, why)
				default:
					misses++
					next = min(next, missRepeat)
				}
				pause.Reset(next)
			}
		})
	}
}

// Once checks one target, as [DialTarget] takes it. Nil: it is well.
func (c Check) Once(ctx context.Context, address string) *Failure {
	if c.path == "" {
		conn, reason, err := c.connect(ctx, address)
		if err != nil {
			return &Failure{address, reason, err}
		}
		conn.Close()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, reason, err := c.connect(ctx, address)
			if err != nil {
				return nil, &unreachable{Failure{address, reason, err}}
			}
			return conn, nil
		},
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHealthHeader,
	}
	status, err := c.get(ctx, transport, address)
	var u *unreachable
	switch {
	case errors.As(err, &u):
		return &u.Failure
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Failure{address, wire.ResetTimeout, err}
	case err != nil:
		return &Failure{Address: address, Err: fmt.Errorf("GET %s: %w", c.path, err)}
	case status < 200 || status > 399:
		return &Failure{Address: address, Err: fmt.Errorf("GET %s is answered with status %d", c.path, status)}
	}
	return nil
}

// unreachable passes a failure through package net/http.
type unreachable struct{ Failure }

func (u *unreachable) Error() string { return u.Err.Error() }

// connect dials a target, and says what it is to hear first.
func (c Check) connect(ctx context.Context, address string) (net.Conn, wire.ResetReason, error) {
	conn, reason, err := DialTarget(ctx, address, c.Timeout)
	if err != nil || len(c.Preface) == 0 {
		return conn, reason, err
	}
	if _, err := conn.Write(c.Preface); err != nil {
		conn.Close()
		return nil, wire.ResetUnreachable, err
	}
	return conn, 0, nil
}

// get asks for the page and returns its status. It follows nobody elsewhere.
func (c Check) get(ctx context.Context, transport *http.Transport, address string) (status int, err error) {
	page, err := url.ParseRequestURI(c.path)
	if err != nil {
		return 0, err
	}
	page.Scheme, page.Host = "http", address
	if strings.HasPrefix(address, UnixScheme) {
		page.Host = "localhost"
	}
	request := (&http.Request{Method: http.MethodGet, URL: page, Header: http.Header{"User-Agent": {"tunnel-client health check"}}}).WithContext(ctx)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	answer.Body.Close()
	return answer.StatusCode, nil
}
