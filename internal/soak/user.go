package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"
)

// plan is what a user decides before it comes.
type plan struct {
	request
	greets  bool          // it is greeted first
	stop    int64         // how much of the question it says
	silence time.Duration // in the middle of the question, or in its place
}

func newPlan(r request, greets bool, random *rand.Rand) plan {
	p := plan{request: r, greets: greets, stop: int64(r.up)}
	switch r.manner {
	case resets, saysBye:
		p.stop = random.Int64N(p.stop)
	case isSilent:
		p.silence = time.Duration(random.IntN(300)) * time.Millisecond
	case pauses:
		p.silence = time.Duration(500+random.IntN(2500)) * time.Millisecond
	}
	return p
}

// visit takes one user through a request.
func (p plan) visit(addr string) error {
	begun := time.Now()
	conn, err := net.DialTimeout("tcp", addr, userPatience)
	if err != nil {
		return err
	}
	c := conn.(*net.TCPConn)
	defer c.Close()
	c.SetDeadline(begun.Add(userPatience))
	if p.manner == isSilent {
		time.Sleep(p.silence)
		return nil
	}
	if p.greets {
		got := make([]byte, len(greeting))
		if _, err := io.ReadFull(c, got); err != nil {
			return fmt.Errorf("greeting: %w", err)
		}
		if string(got) != greeting {
			return fmt.Errorf("%w: %q in place of the greeting", errForeign, got)
		}
	}
	if p.manner.endsEarly() {
		err := p.say(c)
		if p.manner == resets {
			c.SetLinger(0)
		}
		return err
	}
	said := make(chan error, 1)
	go func() { said <- p.say(c) }() // ends with c
	err = p.listen(c)
	if err != nil {
		c.Close()
	}
	unsaid := <-said
	// Of a reset the system tells one of the two, and the other an end in order.
	if err == nil || errors.Is(err, errShort) && classify(unsaid) == reset {
		err = unsaid
	}
	return err
}

// say says the question, as far as it is to be said.
func (p plan) say(c *net.TCPConn) error {
	if _, err := c.Write(p.append(nil)); err != nil {
		return err
	}
	question, left := pattern(p.number, false), p.stop
	if p.manner == pauses {
		if _, err := io.CopyN(c, question, left/2); err != nil {
			return err
		}
		left -= left / 2
		time.Sleep(p.silence)
	}
	if _, err := io.CopyN(c, question, left); err != nil {
		return err
	}
	if p.manner == halfCloses {
		return c.CloseWrite()
	}
	return nil
}

// errShort: an end in order where the answer is not whole.
var errShort = errors.New("the answer ended in order and is not whole")

// listen reads the whole answer and its end.
func (p plan) listen(c *net.TCPConn) error {
	got := newChecker()
	var from io.Reader = c
	if p.manner == readsSlowly {
		from = &slowReader{c, time.Duration(1+p.number%10) * time.Millisecond}
	}
	_, err := io.CopyN(got, from, int64(p.down))
	if wrong := got.check(p.number, true); wrong != nil {
		return wrong // also of one that is not whole
	}
	var sum [sha256.Size]byte
	if err == nil {
		_, err = io.ReadFull(c, sum[:])
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %d of %d bytes", errShort, got.got, p.down)
	case err != nil:
		return err
	case sum != patternHash(p.number, false, p.up):
		return fmt.Errorf("%w: the target got another question than was sent", errForeign)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 {
		return fmt.Errorf("%w behind the answer", errForeign)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// slowReader reads little at a time.
type slowReader struct {
	io.Reader
	pause time.Duration
}

func (s *slowReader) Read(b []byte) (int, error) {
	time.Sleep(s.pause)
	return s.Reader.Read(b[:min(len(b), 4<<10)])
}

// failure is how a visit went wrong, in the words of the summary.
type failure string

const (
	refused failure = "refused" // the connection was
	reset   failure = "reset"
	hung    failure = "hung"    // nothing happened until the user's patience was over
	short   failure = "short"   // an answer that is not whole ended in order
	foreign failure = "foreign" // bytes that were not sent to this user
	other   failure = "other"
)

func classify(err error) failure {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errForeign):
		return foreign
	case errors.Is(err, errShort):
		return short
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reset
	case errors.Is(err, os.ErrDeadlineExceeded):
		return hung
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return short
	}
	return other
}
