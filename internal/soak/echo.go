//go:build unix

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"
)

// echoes is the target of a crowd. It has a process of its own, so that what it
// has open does not count with the users: for each connection it reads a user's
// number, and then says back what it hears.
type echoes struct {
	mu    sync.Mutex
	seen  map[uint64]struct{}
	twice int // users who came more than once
}

func (e *echoes) serve(c *net.TCPConn) {
	var number [8]byte
	if _, err := io.ReadFull(c, number[:]); err != nil {
		return // one that looked whether the tunnel is up
	}
	n := binary.BigEndian.Uint64(number[:])
	e.mu.Lock()
	if _, there := e.seen[n]; there {
		e.twice++
	}
	e.seen[n] = struct{}{}
	e.mu.Unlock()
	buf := make([]byte, 4<<10)
	for { // io.Copy would take two more descriptors for each
		k, err := c.Read(buf)
		if _, werr := c.Write(buf[:k]); err != nil || werr != nil {
			return
		}
	}
}

// echo is the process: it says where it listens, and for each line that it
// reads what it has seen.
func echo(in io.Reader, out io.Writer) error {
	e := &echoes{seen: make(map[uint64]struct{})}
	t, err := newTarget(e.serve)
	if err != nil {
		return err
	}
	defer t.close()
	fmt.Fprintln(out, t.addr())
	for lines := bufio.NewScanner(in); lines.Scan(); {
		e.mu.Lock()
		seen, twice := len(e.seen), e.twice
		e.mu.Unlock()
		fmt.Fprintln(out, seen, twice, t.open())
	}
	return nil
}

// echoProcess is that process, from outside.
type echoProcess struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	addr string
}

func startEcho() (*echoProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &echoProcess{cmd: exec.Command(self, "-echo")}
	e.cmd.Stderr = os.Stderr
	if e.in, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	e.out = bufio.NewReader(out)
	if _, err := fmt.Fscanln(e.out, &e.addr); err != nil {
		e.stop()
		return nil, fmt.Errorf("the target did not start: %w", err)
	}
	return e, nil
}

// look asks what it has seen.
func (e *echoProcess) look() (seen, twice, open int, err error) {
	if _, err := fmt.Fprintln(e.in); err != nil {
		return 0, 0, 0, err
	}
	_, err = fmt.Fscanln(e.out, &seen, &twice, &open)
	return seen, twice, open, err
}

// empty waits until its users are gone, and returns how many are left.
func (e *echoProcess) empty() (open int, err error) {
	for limit := time.Now().Add(recovery); ; time.Sleep(10 * time.Millisecond) {
		_, _, open, err := e.look()
		if err != nil || open == 0 || time.Now().After(limit) {
			return open, err
		}
	}
}

func (e *echoProcess) stop() {
	e.in.Close()
	e.cmd.Wait()
}
