package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/page"
	"github.com/tunnelpool/pool/internal/status"
)

// Settings are what a program's flags say.
type Settings struct {
	Address  string // --admin; empty: none
	Profiles bool   // --pprof
}

// Check says what is wrong with the settings.
func (s Settings) Check() error {
	switch {
	case s.Address != "":
		return CheckAddress(s.Address)
	case s.Profiles:
		return errors.New("--pprof is for the address of --admin, which is missing")
	}
	return nil
}

// Program is what is served.
type Program struct {
	Source    status.Source
	Collector prometheus.Collector
	Reload    func(context.Context) error // of the keys; nil at a client
}

// Listeners are where a program is asked.
type Listeners struct {
	settings Settings
	log      pool.Logger
	admin    net.Listener // nil without --admin
	control  net.Listener // nil before OpenControl, and if it cannot be had
	awaited  string       // the socket's path while another program has it
}

// controlRetry is how often a socket is tried for that another program has: the
// predecessor's, which stops once its streams have ended.
const controlRetry = 2 * time.Second

// Open opens the address of --admin, if there is one.
func Open(ctx context.Context, s Settings, log pool.Logger) (*Listeners, error) {
	l := &Listeners{settings: s, log: log}
	if s.Address != "" {
		var err error
		if l.admin, err = new(net.ListenConfig).Listen(ctx, "tcp", s.Address); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// OpenControl opens the program's socket in the state directory, which it makes if
// need be: it is for a start that nothing stops any more. That it cannot have the
// socket stops no program.
func (l *Listeners) OpenControl(stateDir, program string) {
	path := ControlPath(stateDir, program)
	control, err := ListenControl(path)
	if err != nil {
		if errors.Is(err, ErrInUse) {
			l.awaited = path
		}
		pool.Tell(l.log, slog.LevelWarn, "no_control_socket", pool.Facts{"error", err},
			"%v; the commands 'status' and 'key' do not reach this program", err)
		return
	}
	l.control = control
}

// Close is for a program that does not come to Serve.
func (l *Listeners) Close() {
	for _, one := range []net.Listener{l.admin, l.control} {
		if one != nil {
			one.Close()
		}
	}
}

// Serve serves in the background, also while streams finish after the end of ctx,
// until end is called, which returns when all is closed.
func (l *Listeners) Serve(ctx context.Context, p Program) (end func()) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { // ends with end
		defer close(done)
		l.run(ctx, p)
	}()
	return func() {
		stop()
		<-done
	}
}

// run serves until ctx ends, and closes the listeners.
func (l *Listeners) run(ctx context.Context, p Program) {
	sampler := status.NewSampler(p.Source)
	o := Options{Source: p.Source, History: sampler.History, Page: lazily(page.Handler),
		Metrics: lazily(func() http.Handler { return l.metrics(p.Collector) })}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	control := o
	control.Reload = p.Reload
	tasks.Go(func() { // ends with ctx
		if on := l.awaitControl(ctx); on != nil {
			l.serve(ctx, on, Handler(control))
		}
	})
	if l.admin != nil {
		o.Profiles, o.Hosts = l.settings.Profiles, HostsOf(l.settings.Address, l.admin)
		l.tell()
		tasks.Go(func() { sampler.Run(ctx) })                  // ends with ctx
		tasks.Go(func() { l.serve(ctx, l.admin, Handler(o)) }) // likewise
	}
}

// awaitControl is the socket, once another program has let it go if need be; nil if
// it cannot be had, or ctx ends.
func (l *Listeners) awaitControl(ctx context.Context) net.Listener {
	if l.control != nil || l.awaited == "" {
		return l.control
	}
	retry := time.NewTicker(controlRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
		}
		on, err := ListenControl(l.awaited)
		switch {
		case err == nil && ctx.Err() != nil:
			on.Close()
			return nil
		case err == nil:
			pool.Tell(l.log, slog.LevelInfo, "control_socket", pool.Facts{"path", l.awaited}, "The control socket is free: the commands 'status' and 'key' reach this program now")
			return on
		case !errors.Is(err, ErrInUse):
			pool.Tell(l.log, slog.LevelWarn, "no_control_socket", pool.Facts{"error", err}, "%v", err)
			return nil
		}
	}
}

func (l *Listeners) serve(ctx context.Context, on net.Listener, h http.Handler) {
	if err := Serve(ctx, on, h); err != nil {
		pool.Tell(l.log, slog.LevelError, "admin_failed", pool.Facts{"address", on.Addr(), "error", err}, "%s is served no more: %v", on.Addr(), err)
	}
}

// tell says where the status page is, and who else may see it.
func (l *Listeners) tell() {
	at := l.admin.Addr()
	pool.Tell(l.log, slog.LevelInfo, "admin_listening", pool.Facts{"address", at}, "Status page and metrics: http://%s/", at)
	if Exposed(l.admin) {
		pool.Tell(l.log, slog.LevelWarn, "admin_exposed", pool.Facts{"address", at},
			"--admin %s: whoever reaches this address sees the status, nobody is asked for a password; 127.0.0.1 keeps it to this machine", l.settings.Address)
	}
}

// lazily has a handler made when it is first asked for: what nobody looks at takes
// no memory.
func lazily(handler func() http.Handler) http.Handler {
	made := sync.OnceValue(handler)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { made().ServeHTTP(w, r) })
}

// metrics serves what Prometheus asks for: the program's metrics, and the Go
// runtime's and the process's.
func (l *Listeners) metrics(c prometheus.Collector) http.Handler {
	r := prometheus.NewRegistry()
	for _, one := range []prometheus.Collector{c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := r.Register(one); err != nil { // two metrics of one name: our mistake
			pool.Tell(l.log, slog.LevelError, "admin_failed", pool.Facts{"error", err}, "No metrics: %v", err)
			return http.NotFoundHandler()
		}
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, ErrorHandling: promhttp.ContinueOnError})
}

// maxScrapes bounds those at the same time.
const maxScrapes = 8
