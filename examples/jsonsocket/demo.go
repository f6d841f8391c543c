package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// scene is what the demo's server knows.
var scene = map[string]json.RawMessage{
	"Camera": json.RawMessage(`{"name":"Camera","type":"CAMERA","location":[7.36,-6.93,4.96]}`),
	"Cube":   json.RawMessage(`{"name":"Cube","type":"MESH","location":[0,0,0]}`),
	"Light":  json.RawMessage(`{"name":"Light","type":"LIGHT","location":[4.08,1.01,5.9]}`),
}

// demo runs a server of the kind in this process, and asks it.
func demo(ctx context.Context, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := newServer(listener, execute)
	defer s.Close()
	client, err := NewClient(Config{
		Server: listener.Addr().String(), Connections: 4, MaxUses: 10, Timeout: 5 * time.Second, MaxAnswer: 1 << 20,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	fmt.Fprintf(out, "A server as Blender's add-on has one listens on %s, in this process.\n\n", listener.Addr())

	for _, name := range []string{"Cube", "Sphere"} {
		params := fmt.Sprintf(`{"name": %q}`, name)
		result, err := client.Call(ctx, "get_object_info", json.RawMessage(params))
		var refused *ServerError
		switch {
		case errors.As(err, &refused):
			fmt.Fprintf(out, "get_object_info %s\n  %v (the connection is kept)\n", params, err)
		case err != nil:
			return err
		default:
			fmt.Fprintf(out, "get_object_info %s\n  %s\n", params, result)
		}
	}

	const requests = 50
	began := time.Now()
	if err := echoes(ctx, client, requests); err != nil {
		return err
	}
	took := time.Since(began)
	_, err = fmt.Fprintf(out, "\n%d requests at once: each got its own answer, in %v over at most 4 connections at a time.\n"+
		"The server saw %d connections in all: each is retired after 10 requests.\n",
		requests, took.Round(100*time.Microsecond), s.Accepted())
	return err
}

// echoes sends n requests at once, and fails if an answer is another's.
func echoes(ctx context.Context, client *Client, n int) error {
	failed := make(chan error, n)
	for i := range n {
		go func() { // ends with its answer, at the latest after the client's timeouts
			want := fmt.Sprint(i)
			got, err := client.Call(ctx, "echo", json.RawMessage(want))
			if err == nil && string(got) != want {
				err = fmt.Errorf("request %s got the answer of %s", want, got)
			}
			failed <- err
		}()
	}
	var all error
	for range n {
		all = errors.Join(all, <-failed)
	}
	return all
}

// execute carries out one request of the demo.
func execute(req request) (any, error) {
	switch req.Type {
	case "get_object_info":
		var params struct{ Name string }
		if err := json.Unmarshal(req.Params, &params); err != nil {
			return nil, fmt.Errorf("params: %w", err)
		}
		object, ok := scene[params.Name]
		if !ok {
			return nil, fmt.Errorf("object not found: %s", params.Name)
		}
		return object, nil
	case "echo":
		return req.Params, nil
	}
	return nil, fmt.Errorf("unknown command type: %s", req.Type)
}

// server answers requests, one at a time for all connections, as a program does
// whose scene belongs to its main thread.
type server struct {
	listener net.Listener
	execute  func(request) (any, error)
	turn     sync.Mutex // held by the request that is being carried out
	wg       sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	accepted int
	conns    map[net.Conn]bool
}

// newServer serves on l, which is the server's from then on, until Close.
func newServer(l net.Listener, execute func(request) (any, error)) *server {
	s := &server{listener: l, execute: execute, conns: make(map[net.Conn]bool)}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			if s.add(conn) {
				s.wg.Go(func() { s.serve(conn) })
			}
		}
	})
	return s
}

// Accepted is how many connections there were.
func (s *server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Close ends the server and its connections.
func (s *server) Close() {
	s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *server) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.accepted++
	s.conns[conn] = true
	return true
}

// serve answers on one connection until it ends.
func (s *server) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	requests := json.NewDecoder(conn)
	for {
		var req request
		if requests.Decode(&req) != nil {
			return
		}
		s.turn.Lock()
		result, err := s.execute(req)
		s.turn.Unlock()
		var say any = map[string]any{"status": "success", "result": result}
		if err != nil {
			say = map[string]any{"status": "error", "message": err.Error()}
		}
		text, err := json.Marshal(say)
		if err != nil {
			return
		}
		if _, err := conn.Write(text); err != nil {
			return
		}
	}
}
