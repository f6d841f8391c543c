package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// userPatience bounds a user's whole visit, and the target's part in it. Only
// what hangs lasts that long.
const userPatience = 90 * time.Second

// greeting is what a target says first that does not wait to be asked.
const greeting = "220 go ahead\r\n"

// target is where a service leads to.
type target struct {
	listener net.Listener
	serve    func(*net.TCPConn)

	tasks sync.WaitGroup // the accept loop and all connections
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// newTarget serves each connection with serve, and closes it then.
func newTarget(serve func(*net.TCPConn)) (*target, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &target{listener: l, serve: serve, conns: make(map[net.Conn]struct{})}
	t.tasks.Go(t.accept) // ends when close closes the listener
	return t, nil
}

func (t *target) addr() string { return t.listener.Addr().String() }

func (t *target) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // no descriptor is free, most likely
			continue
		}
		t.mu.Lock()
		t.conns[c] = struct{}{}
		t.mu.Unlock()
		t.tasks.Go(func() { // ends with the connection
			t.serve(c.(*net.TCPConn))
			t.mu.Lock()
			delete(t.conns, c)
			t.mu.Unlock()
			c.Close()
		})
	}
}

// open is how many connections there are.
func (t *target) open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}

func (t *target) close() {
	t.listener.Close()
	t.mu.Lock()
	for c := range t.conns {
		c.Close()
	}
	t.mu.Unlock()
	t.tasks.Wait()
}

// counting serves requests and notes each in the books.
type counting struct {
	books  *books
	greets bool
}

func (t counting) serve(c *net.TCPConn) {
	c.SetDeadline(time.Now().Add(userPatience))
	if t.greets {
		if _, err := io.WriteString(c, greeting); err != nil {
			t.books.nameless()
			return
		}
	}
	var head [headerSize]byte
	if n, err := io.ReadFull(c, head[:]); err != nil {
		t.books.nameless() // left before it was known by number
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			t.books.truncated(time.Now())
		}
		return
	}
	r, err := parseRequest(head)
	if err != nil {
		t.books.wrong("the target: %v", err)
		return
	}
	t.books.arrived(r)
	answered := make(chan struct{})
	got := newChecker()
	heard := make(chan struct{}) // closed when the question is in
	go func() {                  // ends with the connection
		defer close(answered)
		t.answer(c, r, got, heard)
	}()
	end := hear(c, r, got)
	close(heard)
	t.books.heard(r, got, end)
	if end == cutOff {
		c.Close() // ends the answer
	}
	<-answered
}

// hear reads a question. Users who half-close have ended it when it is in; the
// others' end is waited for by whoever answers.
func hear(c *net.TCPConn, r request, got *checker) ending {
	_, err := io.CopyN(got, c, int64(r.up))
	if err == nil && r.manner == halfCloses {
		var n int
		if n, err = c.Read(make([]byte, 1)); n > 0 {
			return tooMuch
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	switch {
	case err == nil:
		return whole
	case errors.Is(err, io.EOF):
		return inOrder
	}
	return cutOff
}

// answer says the answer to a question that is in, or beside it.
func (t counting) answer(c *net.TCPConn, r request, got *checker, heard <-chan struct{}) {
	if !r.manner.answersAtOnce() {
		<-heard
	}
	if _, err := io.CopyN(c, pattern(r.number, true), int64(r.down)); err != nil {
		return
	}
	<-heard
	sum := got.sum()
	if _, err := c.Write(sum[:]); err != nil {
		return
	}
	c.CloseWrite()
	if n, _ := io.Copy(io.Discard, c); n > 0 { // to the user's end
		t.books.wrong("request %d (%v): the target got %d bytes behind its end", r.number, r.manner, n)
	}
}
