//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// build builds both programs into dir.
func build(dir string) error {
	c := exec.Command("go", "build", "-buildvcs=false", "-o", dir+string(filepath.Separator),
		"github.com/tunnelpool/pool/cmd/tunnel-server", "github.com/tunnelpool/pool/cmd/tunnel-client")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// program is one of the two, over all its processes.
type program struct {
	name string
	args []string
	env  []string
	log  string // file with what its processes wrote

	mu      sync.Mutex
	current *process
	starts  int
}

// process is one run of a program.
type process struct {
	cmd     *exec.Cmd
	started time.Time
	wanted  bool          // its end is; guarded by the program's lock
	ended   chan struct{} // closed when it is gone
}

func newProgram(bin, dir, name, key string, args ...string) *program {
	state := filepath.Join(dir, name+"-state")
	return &program{
		name: filepath.Join(bin, name), args: args, log: filepath.Join(dir, name+".log"),
		env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "STATE_DIRECTORY=" + state, "TUNNEL_KEY=" + key},
	}
}

// start runs the program; unexpected is told when it ends by itself.
func (p *program) start(unexpected func(error)) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() // the process has its own
	c := exec.Command(p.name, p.args...)
	c.Env, c.Stdout, c.Stderr = p.env, out, out
	if err := c.Start(); err != nil {
		return err
	}
	run := &process{cmd: c, started: time.Now(), ended: make(chan struct{})}
	p.mu.Lock()
	p.current = run
	p.starts++
	p.mu.Unlock()
	go func() { // ends with the process
		defer close(run.ended)
		err := c.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if !run.wanted {
			unexpected(fmt.Errorf("%s ended by itself: %v", p.label(), err))
		}
	}()
	return nil
}

func (p *program) running() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// signal sends one that does not end the process.
func (p *program) signal(s syscall.Signal) { p.running().cmd.Process.Signal(s) }

// end sends a signal that does, and waits.
func (p *program) end(s syscall.Signal) {
	p.mu.Lock()
	run := p.current
	if run == nil {
		p.mu.Unlock()
		return
	}
	run.wanted = true
	p.mu.Unlock()
	run.cmd.Process.Signal(s)
	<-run.ended
}

var goroutineLine = regexp.MustCompile(`(?m)^goroutine \d+ `)

// goroutines ends the process with the signal on which Go programs show their
// goroutines, and counts them.
func (p *program) goroutines() (count int, err error) {
	before, err := os.ReadFile(p.log)
	if err != nil {
		return 0, err
	}
	p.end(syscall.SIGQUIT)
	after, err := os.ReadFile(p.log)
	if err != nil {
		return 0, err
	}
	return len(goroutineLine.FindAll(after[len(before):], -1)), nil
}

// troubles are the log's lines that no run may have.
func (p *program) troubles() (lines []string) {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []string{err.Error()}
	}
	for line := range bytes.Lines(text) {
		for _, bad := range []string{"panic:", "fatal error:", "DATA RACE", "ERROR"} {
			if bytes.Contains(line, []byte(bad)) && len(lines) < maxWrongs {
				lines = append(lines, p.label()+": "+strings.TrimSpace(string(line)))
			}
		}
	}
	return lines
}

// tail is the log's end, without the goroutines it may have been asked for.
func (p *program) tail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	text, _, _ = bytes.Cut(text, []byte("SIGQUIT: quit"))
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// label is the program's name without its directory.
func (p *program) label() string { return filepath.Base(p.name) }
