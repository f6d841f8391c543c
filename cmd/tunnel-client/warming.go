package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/logging"
	"github.com/tunnelpool/pool/tunnel"
)

// warmingStep is how often the progress of the pool is looked at.
const warmingStep = 50 * time.Millisecond

// warming is the client's logger. On a terminal it shows below the lines how far
// the pool is, from the start until that is warm or a service is up.
type warming struct {
	*logging.Logger

	mu   sync.Mutex // guards over, and that nothing is shown after it
	over bool
}

// Event takes the progress away before the line that a service is up.
func (w *warming) Event(e pool.Event) {
	if e.Name == "service_up" {
		w.show("", true)
	}
	w.Logger.Event(e)
}

// show replaces what is shown; with last nothing is any more.
func (w *warming) show(text string, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.Progress(text)
		w.over = last
	}
}

func (w *warming) isOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

// follow shows the progress until the pool holds that many connections, or as
// many as the server lets it have, or stop is called, or ctx ends.
func (w *warming) follow(ctx context.Context, client *tunnel.Client, least int) (stop func()) {
	if !w.ShowsProgress() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var task sync.WaitGroup
	task.Go(func() { w.watch(ctx, client, least) }) // ends with ctx
	return func() {
		cancel()
		task.Wait()
	}
}

func (w *warming) watch(ctx context.Context, client *tunnel.Client, least int) {
	defer w.show("", true)
	tick := time.NewTicker(warmingStep)
	defer tick.Stop()
	for !w.isOver() {
		if st := client.Stats(); st.Connected {
			want := min(least, st.Pool.Capacity)
			if st.Pool.Idle >= want {
				return
			}
			w.show(fmt.Sprintf("warming: %d of %d connections", st.Pool.Idle, want), false)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
