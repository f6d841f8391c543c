package browser

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/page"
)

type object = map[string]any

// scene is what a fake program tells. Its figures move with the time as those of
// a program under load do.
type scene struct {
	client   bool
	version  string
	started  time.Time
	services int
	clients  int
	load     float64 // 0 is idle
	down     int     // so many services are down
	left     bool    // of the first client an event tells that it left
	waiting  int
	notReady string
	fresh    bool // has only just started: no history to speak of
	hostile  func(i int) string
	group    bool
	room     int // of each client's pool; 0 is 32
	forwards int
}

// fake is a program as far as the page can tell.
type fake struct {
	t      *testing.T
	addr   string
	server *http.Server
	done   chan struct{}

	mu    sync.Mutex // guards what follows
	scene scene
	full  int // how often the whole history was asked for

	breakage int // answers this code instead, if not 0; 200 with an empty object; below 0 it hangs
}

func newFake(t *testing.T, s scene) *fake {
	f := &fake{t: t, addr: "127.0.0.1:0"}
	f.set(s)
	f.start()
	t.Cleanup(f.stop)
	return f
}

func (f *fake) set(s scene) {
	if s.version == "" {
		s.version = "0.6.0"
	}
	if s.started.IsZero() {
		s.started = time.Now().Add(-3*time.Hour - 12*time.Minute)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scene = s
}

func (f *fake) now() scene {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.scene
}

func (f *fake) url() string { return "http://" + f.addr }

// start listens, after a stop where it did before.
func (f *fake) start() {
	l, err := net.Listen("tcp", f.addr)
	require.NoError(f.t, err)
	f.addr = l.Addr().String()
	mux := http.NewServeMux()
	mux.Handle("/", page.Handler())
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		f.answer(w, r, f.now().status(time.Now()))
	})
	mux.HandleFunc("GET /api/v1/history", f.history)
	mux.Handle("/below/", http.StripPrefix("/below", mux)) // as a proxy would have it
	f.server = &http.Server{Handler: mux}
	f.done = make(chan struct{})
	go func() { // ends with stop
		defer close(f.done)
		_ = f.server.Serve(l)
	}()
}

func (f *fake) stop() {
	_ = f.server.Close()
	<-f.done
}

func (f *fake) history(w http.ResponseWriter, r *http.Request) {
	since, _ := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since"))
	if since.IsZero() {
		f.mu.Lock()
		f.full++
		f.mu.Unlock()
	}
	now := time.Now().Truncate(time.Second)
	s := f.now()
	samples := []object{}
	for i := 299; i >= 0; i-- {
		at := now.Add(-time.Duration(i) * time.Second)
		if at.After(since) && (!s.fresh || !at.Before(s.started)) {
			samples = append(samples, s.sample(at))
		}
	}
	f.answer(w, r, object{"interval_seconds": 1, "samples": samples})
}

func (f *fake) fail(code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.breakage = code
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request, v any) {
	f.mu.Lock()
	code := f.breakage
	f.mu.Unlock()
	if code < 0 {
		<-r.Context().Done() // whoever asks gives up
		return
	}
	if code == http.StatusOK {
		v = object{}
	} else if code != 0 {
		http.Error(w, "not well", code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// wave is between 0 and 1: a slow swing, a quicker one and some noise, another
// for each n.
func wave(at time.Time, n int) float64 {
	t := float64(at.Unix() % 100000)
	k := float64(n)
	noise := math.Mod(math.Abs(math.Sin(t*12.9898+k*78.233))*43758.5453, 1)
	return 0.5 + 0.27*math.Sin(t/47+k) + 0.13*math.Sin(t/(7+k/3)+2*k) + 0.2*(noise-0.5)
}

func (s scene) clientName(i int) string {
	if s.hostile != nil {
		return s.hostile(i)
	}
	names := []string{"pi", "lab", "workshop", "garage", "office-berlin", "nas", "cam-gateway"}
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("edge-%03d", i)
}

func (s scene) serviceName(i int) string {
	if s.hostile != nil {
		return s.hostile(i)
	}
	names := []string{"web", "ssh", "git", "metrics", "db", "files", "mqtt", "wiki", "ci"}
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("app-%02d", i)
}

func (s scene) owner(i int) string { return s.clientName(i % max(1, s.clients)) }

// bytes of service i in the second of at.
func (s scene) bytes(at time.Time, i int) (from, to int64) {
	v := s.load * wave(at, i) / (1 + float64(i)*0.8)
	return int64(v * 90e3), int64(v * 2.4e6)
}

func (s scene) open(at time.Time, i int) int {
	return int(s.load * 24 * wave(at, i+3) / (1 + float64(i)))
}

func (s scene) sample(at time.Time) object {
	services, open := object{}, 0
	for i := range s.services {
		if i >= s.down {
			from, to := s.bytes(at, i)
			services[s.owner(i)+"/"+s.serviceName(i)] = object{"from_users": from, "to_users": to, "open": s.open(at, i)}
			open += s.open(at, i)
		}
	}
	o := object{
		"time": at.Format(time.RFC3339Nano), "idle": s.idle(at), "capacity": s.capacity(), "open": open,
		"waiting": s.waiting, "services": services,
	}
	if s.clients > 0 {
		o["round_trip_seconds"] = 0.038 + 0.008*wave(at, 5)
	}
	if s.load > 0.5 || s.load > 0 && at.Unix()%7 < 2 {
		p50 := 0.040 + 0.010*wave(at, 1)
		o["first_byte_p50_seconds"], o["first_byte_p99_seconds"] = p50, p50*(1.3+1.6*wave(at, 2))
	}
	return o
}

func (s scene) capacity() int {
	if s.room > 0 {
		return s.room * s.clients
	}
	return 32 * s.clients
}

func (s scene) idle(at time.Time) int {
	if s.waiting > 0 {
		return 0
	}
	return int(float64(32*s.clients) * (1 - 0.6*s.load*wave(at, 4)))
}

func (s scene) pool(at time.Time) object {
	return object{
		"idle": s.idle(at), "out": 1, "waiting": s.waiting, "capacity": s.capacity(), "interval_seconds": 0.1,
		"hits": 18231, "misses": 12, "timeouts": 2, "created": 19022, "dialing": 0, "dial_failures": 3,
		"closed": object{"dead": 14, "age": 221, "surplus": 40}, "rejected": object{},
	}
}

func (s scene) service(at time.Time, i int) object {
	up := i >= s.down
	o := object{
		"client": s.owner(i), "name": s.serviceName(i), "network": "tcp", "up": up, "reason": "", "group": "",
		"address": fmt.Sprintf("0.0.0.0:%d", 8080+i), "target": fmt.Sprintf("localhost:%d", 3000+i),
		"open": 0, "streams": 4711 * (i + 1), "bytes_from_users": 0, "bytes_to_users": 0,
	}
	if i == 5 {
		o["network"] = "udp"
	}
	if s.group && i > 1 && i < 4 {
		o["group"] = "blue"
	}
	if !up {
		o["reason"] = "the client is away; its users are held"
	} else {
		o["open"] = s.open(at, i)
	}
	passed := at.Sub(s.started).Seconds() // counters that grow evenly are as good
	from, to := s.bytes(s.started, i)
	o["bytes_from_users"], o["bytes_to_users"] = int64(float64(from)*passed), int64(float64(to)*passed)
	if !s.client {
		o["first_byte"] = object{"count": 100, "p50_seconds": 0.042 + 0.001*float64(i), "p99_seconds": 0.0731 + 0.002*float64(i)}
		if i%4 == 3 {
			o["first_byte"] = object{"count": 0}
		}
	}
	return o
}

func (s scene) session(at time.Time, i int) object {
	return object{
		"client": s.clientName(i), "address": fmt.Sprintf("203.0.113.%d:%d", 7+i%240, 40000+i), "key": "default",
		"since": s.started.Add(time.Duration(i) * time.Second).Format(time.RFC3339), "open": s.open(at, i), "carriers": 2,
		"round_trip_seconds": 0.012*float64(1+i%9) + 0.006*wave(at, i),
		"pool":               s.pool(at),
	}
}

func (s scene) status(at time.Time) object {
	services, sessions, forwards, open := []object{}, []object{}, []object{}, 0
	for i := range s.services {
		v := s.service(at, i)
		services = append(services, v)
		open += v["open"].(int)
	}
	for i := range s.clients {
		sessions = append(sessions, s.session(at, i))
	}
	for i := range s.forwards {
		v := s.service(at, s.services+i+s.down)
		v["address"], v["target"] = fmt.Sprintf("127.0.0.1:%d", 6379+i), fmt.Sprintf("10.0.0.5:%d", 6379+i)
		forwards = append(forwards, v)
	}
	o := object{
		"program": "tunnel-server", "version": s.version, "started": s.started.Format(time.RFC3339Nano),
		"now": at.Format(time.RFC3339Nano), "uptime_seconds": at.Sub(s.started).Seconds(),
		"ready": s.notReady == "", "reason": s.notReady, "listen": "[::]:10101", "tls": "1", "pool": s.pool(at),
		"users": object{"open": open, "waiting": s.waiting, "streams": 18243, "carried": 31, "timeouts": 2,
			"overflow": 0, "replays": 4, "no_ack": 0},
		"door":     object{"in_flight": 0, "rejected": object{"bad-proof": 3, "rate": 118}},
		"sessions": sessions, "services": services, "forwards": forwards, "events": s.events(at),
	}
	if s.client {
		delete(o, "listen")
		delete(o, "door")
		o["program"], o["name"], o["server"] = "tunnel-client", s.clientName(0), "tunnel.example.com:10101"
	}
	return o
}

func (s scene) events(at time.Time) []object {
	events := []object{}
	add := func(ago time.Duration, level, name, client, text string) {
		attrs := object{}
		if client != "" {
			attrs["client"] = client
		}
		events = append(events, object{"time": at.Truncate(time.Minute).Add(-ago).Format(time.RFC3339Nano),
			"level": level, "event": name, "text": text, "attrs": attrs})
	}
	add(27*time.Hour, "info", "started", "", "tunnel-server "+s.version+" listens on [::]:10101")
	if s.load == 0 && s.clients == 0 {
		return events
	}
	first, third := s.clientName(0), s.clientName(2)
	add(3*time.Hour, "info", "client_joined", first, `"`+first+`" at 203.0.113.7:40000 joined (key "default", 8d1c41a2b60f7733)`)
	add(3*time.Hour-time.Second, "info", "service_up", first, `"`+first+`": service "`+s.serviceName(0)+`" is up on 0.0.0.0:8080`)
	add(90*time.Minute, "warn", "refused", "", "203.0.113.66: wrong key, 3 times in the last minute")
	add(12*time.Minute, "info", "client_left", third, `"`+third+`" at 203.0.113.9:40002 left: it was stopped`)
	add(11*time.Minute, "info", "client_joined", third, `"`+third+`" at 203.0.113.9:40002 joined (key "default", 8d1c41a2b60f7733)`)
	if s.left {
		add(40*time.Second, "info", "client_left", first, `"`+first+`" at 203.0.113.7:40000 left: no sign of life for 15 s`)
	}
	if s.down > 0 {
		add(20*time.Second, "error", "session_failed", "", "an error, so that there is one to look at")
	}
	return events
}
