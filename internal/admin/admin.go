// Package admin is what a running program serves to its operator: metrics,
// health, the status as JSON and as a page. It is served at --admin, where nobody
// is asked for a password, and on a socket in the state directory, which only its
// owner can open.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/tunnelpool/pool/internal/status"
)

// Options say what is served.
type Options struct {
	Source  status.Source
	History func(since time.Time) status.History
	Metrics http.Handler
	Page    http.Handler // GET / and what it loads

	// Profiles serves the profiles of net/http/pprof.
	Profiles bool

	// Hosts are names that a request may be for, besides IP addresses and
	// localhost; nil lets all be. A page of a stranger, whose name leads to this
	// machine, is kept out so.
	Hosts []string

	// Reload, when set, is POST /keys/reload: it reads the keys anew and returns
	// when they are in effect.
	Reload func(context.Context) error
}

// Handler serves what the options say.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Source.Ready(); err != nil {
			plain(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		plain(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Source.Report()) })
	mux.HandleFunc("GET /api/v1/history", func(w http.ResponseWriter, r *http.Request) {
		since, err := sinceOf(r)
		if err != nil {
			plain(w, http.StatusBadRequest, err.Error())
			return
		}
		answer(w, o.History(since))
	})
	if o.Page != nil {
		mux.Handle("GET /", o.Page)
	}
	if o.Profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound) // flags are the operator's own
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	if o.Reload != nil {
		mux.HandleFunc("POST /keys/reload", func(w http.ResponseWriter, r *http.Request) {
			if err := o.Reload(r.Context()); err != nil {
				plain(w, http.StatusUnprocessableEntity, err.Error())
				return
			}
			plain(w, http.StatusOK, "the keys are in effect")
		})
	}
	return guarded(mux, o.Hosts)
}

// sinceOf is what a request says it has: the time of the newest sample, or nothing.
func sinceOf(r *http.Request) (time.Time, error) {
	text := r.URL.Query().Get("since")
	if text == "" {
		return time.Time{}, nil
	}
	since, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("since=%q is not a time: give that of a sample, as in 2006-01-02T15:04:05Z", text)
	}
	return since, nil
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // who has left needs no answer
}

func answer(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(data, '\n')) // likewise
}

// guarded lets only requests through that are for this program, and tells
// browsers to load nothing from elsewhere.
func guarded(next http.Handler, hosts []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !hostAllowed(r.Host, hosts) {
			plain(w, http.StatusMisdirectedRequest, "this is asked for under a name that is not ours: use the IP address, localhost, or the name of --admin")
			return
		}
		if fetchedElsewhere(r) {
			plain(w, http.StatusForbidden, "this is not for pages of other sites")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// fetchedElsewhere reports that a page of another site has its visitor's browser
// ask. It could not read the answer, but a scrape or a profile is work. Links may
// lead here.
func fetchedElsewhere(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Dest") != "document"
}

// hostAllowed tells the names that no stranger's page can have.
func hostAllowed(host string, allowed []string) bool {
	if allowed == nil {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	if net.ParseIP(host) != nil || strings.EqualFold(host, "localhost") {
		return true
	}
	for _, name := range allowed {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}

const (
	maxHeader = 16 << 10
	maxBody   = 1 << 10

	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second // profiles take what they last on top of it
	idleTimeout   = time.Minute
	closeTimeout  = time.Second
)

// Serve serves l until ctx ends; then requests under way have a moment to finish.
// It closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler: h, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorLog: stdlog.New(io.Discard, "", 0), // what strangers send is not worth a line
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if s.Shutdown(last) != nil {
			s.Close()
		}
	})
	err := s.Serve(newLimited(l))
	if !stop() {
		<-ended
	}
	s.Close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
