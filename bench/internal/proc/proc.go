// Package proc runs the programs under measurement and tells what they use.
package proc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"
)

// ErrUnknown says that this system does not tell.
var ErrUnknown = errors.New("what another process uses is known on Linux only")

// Memory is what a process occupies, in bytes.
type Memory struct {
	RSS int64 // all its pages
	PSS int64 // pages shared with others count by share
}

// Process is a program that runs. All methods are safe for concurrent use.
type Process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{}

	mu      sync.Mutex // guards what follows
	lines   []string   // the first maxLines of its output
	changed chan struct{}
}

const (
	// maxLines bounds what is kept of a program's output.
	maxLines = 1000

	patience = 20 * time.Second
)

// Start starts cmd with start, which is cmd.Start or the like. Standard output
// and error are read together, line by line. The process is killed by Stop, and
// on Linux when this one ends.
func Start(name string, cmd *exec.Cmd, start func(*exec.Cmd) error) (*Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	stdin, err := cmd.StdinPipe()
	if err != nil {
		r.Close()
		w.Close()
		return nil, err
	}
	endWithParent(cmd)
	err = start(cmd)
	w.Close()
	if err != nil {
		r.Close()
		stdin.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, cmd: cmd, stdin: stdin, ended: make(chan struct{}), changed: make(chan struct{})}
	go func() { // ends with the program
		defer close(p.ended)
		p.collect(r)
		r.Close()
		_ = cmd.Wait() // how it ended tells nothing that its output does not
	}()
	return p, nil
}

func (p *Process) collect(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			p.mu.Lock()
			if len(p.lines) < maxLines {
				p.lines = append(p.lines, strings.TrimSuffix(line, "\n"))
			}
			close(p.changed)
			p.changed = make(chan struct{})
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Await waits for a line with a match, from line `from` on, and returns its
// groups and the number of the line after it.
func (p *Process) Await(from int, re *regexp.Regexp, patience time.Duration) (groups []string, next int, err error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for over := false; ; {
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.mu.Unlock()
		for ; from < len(lines); from++ {
			if groups := re.FindStringSubmatch(lines[from]); groups != nil {
				return groups, from + 1, nil
			}
		}
		if over {
			return nil, from, fmt.Errorf("%s has ended without a line that matches %q; its output:\n%s", p.name, re, strings.Join(lines, "\n"))
		}
		select {
		case <-changed:
		case <-p.ended:
			over = true // all lines are in: look once more
		case <-limit.C:
			return nil, from, fmt.Errorf("%s has written no line that matches %q for %v; its output:\n%s", p.name, re, patience, strings.Join(lines, "\n"))
		}
	}
}

// Ready waits for a match anywhere in the output.
func (p *Process) Ready(re *regexp.Regexp) ([]string, error) {
	groups, _, err := p.Await(0, re, patience)
	return groups, err
}

// CPU is the processor time that the process has taken so far.
func (p *Process) CPU() (time.Duration, error) { return cpu(p.cmd.Process.Pid) }

// Memory is what the process occupies now.
func (p *Process) Memory() (Memory, error) { return memory(p.cmd.Process.Pid) }

// Descriptors is how many files and sockets the process has open.
func (p *Process) Descriptors() (int, error) { return descriptors(p.cmd.Process.Pid) }

// LetGo closes the program's standard input, which ends the bench's own.
func (p *Process) LetGo() { p.stdin.Close() }

// Stop kills the process and returns when it is gone.
func (p *Process) Stop() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
	p.stdin.Close()
}
