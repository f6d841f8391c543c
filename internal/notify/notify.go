package notify

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	pool "github.com/tunnelpool/pool"
)

const (
	// lookEvery is how often the program is asked how it does.
	lookEvery = 5 * time.Second

	// upLimit is how long a start waits for the program to be of use: units that
	// are ordered after it find it so, and a boot without the other side goes on.
	upLimit = 10 * time.Second
)

// Program is what the manager is told about.
type Program struct {
	// Status tells a person in one line how the program does. It is to take the
	// locks that its work takes: while it does not return there are no signs of
	// life, and the watchdog ends a program that is stuck.
	Status func() string

	// Up waits until the program is of use, or ctx ends. Nil: it is from the
	// start.
	Up func(ctx context.Context) error

	Logger pool.Logger
}

// Manager is who started the program. Its methods may be called by
// different goroutines.
type Manager struct {
	program  Program
	socket   string // where it listens; empty: nobody does
	watchdog time.Duration
	unheard  sync.Once // a message that did not arrive is logged

	mu        sync.Mutex // guards what follows
	ready     bool
	reloading bool
}

// New finds the manager in the environment. Nothing is told before
// [Manager.Follow].
func New(p Program) *Manager {
	m := &Manager{program: p, socket: os.Getenv("NOTIFY_SOCKET")}
	if m.socket != "" {
		m.watchdog = watchdog()
	}
	return m
}

// Follow keeps the manager informed until stop is called: that the program is
// ready, how it does, and from the end of ctx on that it is stopping.
func (m *Manager) Follow(ctx context.Context) (stop func()) {
	if m.socket == "" {
		return func() {}
	}
	var tasks sync.WaitGroup
	quit := make(chan struct{})
	waiting, giveUp := context.WithTimeout(ctx, upLimit)
	up := make(chan struct{})
	tasks.Go(func() { // ends with waiting
		defer close(up)
		if m.program.Up != nil {
			_ = m.program.Up(waiting) // why it is not is in Status
		}
	})
	tasks.Go(func() { m.tell(ctx, up, quit) }) // ends with quit
	return func() {
		giveUp()
		close(quit)
		tasks.Wait()
	}
}

// tell looks after the program until quit is closed.
func (m *Manager) tell(ctx context.Context, up, quit <-chan struct{}) {
	every := lookEvery
	if m.watchdog > 0 {
		every = min(every, max(m.watchdog/2, time.Millisecond))
	}
	t := time.NewTicker(every)
	defer t.Stop()
	stopping := ctx.Done()
	told := ""
	for {
		select {
		case <-quit: // before a tick that is due too: each may cost sendLimit
			return
		default:
		}
		words := []string{}
		select {
		case <-quit:
			return
		case <-stopping:
		case <-up:
			up = nil
			if ctx.Err() == nil {
				words = m.becomeReady(words)
			}
		case <-t.C:
		}
		over := ctx.Err() != nil
		if over && stopping != nil { // whichever case saw it
			stopping, up = nil, nil
			words = append(words, "STOPPING=1")
		}
		status := m.program.Status()
		if over {
			status = "Stopping: " + status
		}
		if status != told {
			told = status
			words = append(words, "STATUS="+line(status))
		}
		if m.watchdog > 0 {
			words = append(words, "WATCHDOG=1")
		}
		if len(words) > 0 {
			m.send(words...)
		}
	}
}

// becomeReady adds the word for it, which the end of a reload that is under way
// says otherwise.
func (m *Manager) becomeReady(words []string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = true
	if m.reloading {
		return words
	}
	return append(words, "READY=1")
}

// Reload runs reload, and lets the manager know that it is under way and when it
// is over, however it went. One at a time.
func (m *Manager) Reload(reload func()) {
	if m.turn(true) {
		m.send(reloading()...)
	}
	defer func() {
		if m.turn(false) {
			m.send("READY=1")
		}
	}()
	reload()
}

// turn begins or ends a reload, and reports whether it is to be told: a program
// that is not ready is still starting, for the manager.
func (m *Manager) turn(reloading bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reloading = reloading
	return m.ready
}

func (m *Manager) send(words ...string) {
	if m.socket == "" {
		return
	}
	if err := send(m.socket, words...); err != nil {
		m.unheard.Do(func() {
			pool.Tell(m.program.Logger, slog.LevelWarn, "manager_unreachable", pool.Facts{"error", err},
				"The service manager cannot be told how this program does: %v", err)
		})
	}
}
