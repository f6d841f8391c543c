package statuscmd

import (
	"fmt"
	"slices"
	"time"

	"github.com/tunnelpool/pool/internal/status"
)

// shownEvents bounds the events in the view.
const shownEvents = 10

// view is what is shown of a report.
type view struct {
	report status.Report
	before *status.Report // a moment ago: then bytes are shown per second
	width  int            // 0: lines are as long as they are
	color  bool
}

// String is the whole view.
func (v view) String() string {
	p := &printer{width: v.width, color: v.color}
	v.head(p)
	v.sessions(p)
	v.services(p, "Services", v.report.Services)
	v.services(p, "Forwards", v.report.Forwards)
	v.events(p)
	return p.b.String()
}

func (v view) head(p *printer) {
	r := v.report
	state := cell{"ready", good}
	if !r.Ready {
		state = cell{"not ready: " + r.Reason, bad}
	}
	p.line(cell{r.Program, strong}, cell{"up " + lasted(r.Uptime) + ",", normal}, state) // first what a narrow terminal must not cut off
	p.line(cell{r.Version, normal})
	if r.Server != "" {
		p.line(cell{fmt.Sprintf("%s, server %s, TLS mode %s", r.Name, r.Server, r.TLS), normal})
	} else {
		p.line(cell{fmt.Sprintf("listens on %s, TLS mode %s", r.Listen, r.TLS), normal})
	}
	pool, u := r.Pool, r.Users
	p.line(cell{"Pool ", faint}, cell{fmt.Sprintf("%d idle of %d, %d in use, %d waiting; %d hits, %d misses, %d timeouts",
		pool.Idle, pool.Capacity, pool.Out, pool.Waiting, pool.Hits, pool.Misses, pool.Timeouts), normal})
	if text := reasons(pool.Closed); text != "" {
		p.line(cell{"     ", faint}, cell{"closed: " + text, normal})
	}
	users := fmt.Sprintf("%d open, %d waiting; %d streams", u.Open, u.Waiting, u.Streams)
	for _, more := range []struct {
		n    uint64
		what string
	}{{u.Carried, "carried"}, {u.Replays, "offered again"}, {u.Timeouts, "waited in vain"}, {u.Overflow, "turned away"}, {u.NoAck, "lost"}} {
		if more.n > 0 {
			users += fmt.Sprintf(", %d %s", more.n, more.what)
		}
	}
	p.line(cell{"Users", faint}, cell{users, normal})
	if r.Door != nil {
		if text := reasons(r.Door.Rejected); text != "" {
			p.line(cell{"Door ", faint}, cell{"refused: " + text, normal})
		}
	}
	all := slices.Concat(r.Services, r.Forwards)
	down := 0
	for _, s := range all {
		if !s.Up {
			down++
		}
	}
	if down > 0 { // of hundreds, it may be off the screen
		p.line(cell{"Down ", bad}, cell{fmt.Sprintf("%d of %d services and forwards", down, len(all)), normal})
	}
}

func (v view) sessions(p *printer) {
	p.line()
	p.line(cell{"Sessions", strong}, cell{count(len(v.report.Sessions)), normal})
	if len(v.report.Sessions) == 0 {
		return
	}
	var rows [][]cell
	for _, s := range v.report.Sessions {
		rows = append(rows, []cell{
			{s.Client, strong}, {s.Address, normal}, {s.Key, normal}, {lasted(v.report.Now.Sub(s.Since).Seconds()), normal},
			{took(s.RoundTrip), normal}, {count(s.Open), normal}, {count(s.Pool.Idle), normal}, {count(s.Carriers), normal},
		})
	}
	p.table([]column{
		{title: "CLIENT", name: true}, {title: "ADDRESS", name: true}, {title: "KEY", name: true}, {title: "SINCE", right: true},
		{title: "RTT", right: true}, {title: "USERS", right: true}, {title: "IDLE", right: true}, {title: "CARRIERS", right: true},
	}, rows)
}

func (v view) services(p *printer, title string, all []status.Service) {
	if len(all) == 0 && title == "Forwards" {
		return
	}
	p.line()
	p.line(cell{title, strong}, cell{count(len(all)), normal})
	if len(all) == 0 {
		return
	}
	unit := ""
	if v.before != nil {
		unit = "/s"
	}
	var rows [][]cell
	var down []status.Service
	for _, s := range all {
		state := cell{"up", good}
		if !s.Up {
			state = cell{"down", bad}
			down = append(down, s)
		}
		first := ""
		if s.FirstByte != nil && s.FirstByte.P50 != nil {
			first = took(*s.FirstByte.P50)
		}
		address := s.Address
		if s.Network == "udp" {
			address = "udp " + address
		}
		from, to := v.passed(s)
		client := s.Client
		if v.report.Server != "" {
			client = "" // its own
		}
		target := s.Target
		if target == s.Name {
			target = ""
		}
		rows = append(rows, []cell{
			{client, normal}, {s.Name, strong}, state, {address, normal}, {target, normal},
			{count(s.Open), normal}, {size(from) + unit, normal}, {size(to) + unit, normal}, {first, normal},
		})
	}
	p.table([]column{
		{title: "CLIENT", name: true}, {title: "NAME", name: true}, {title: "STATE"}, {title: "ADDRESS", name: true}, {title: "TARGET", name: true},
		{title: "USERS", right: true}, {title: "FROM", right: true}, {title: "TO", right: true}, {title: "1ST BYTE", right: true},
	}, rows)
	for _, s := range down {
		if s.Reason != "" {
			p.line(cell{s.Name + ":", strong}, cell{s.Reason, bad})
		}
	}
}

// passed is what users sent and received: in all, or a second.
func (v view) passed(s status.Service) (from, to float64) {
	from, to = float64(s.FromUsers), float64(s.ToUsers)
	if v.before == nil {
		return from, to
	}
	elapsed := v.report.Now.Sub(v.before.Now).Seconds()
	for _, list := range [][]status.Service{v.before.Services, v.before.Forwards} {
		for _, b := range list {
			if b.Client == s.Client && b.Name == s.Name && b.Address == s.Address && b.FromUsers <= s.FromUsers && b.ToUsers <= s.ToUsers && elapsed > 0 {
				return (from - float64(b.FromUsers)) / elapsed, (to - float64(b.ToUsers)) / elapsed
			}
		}
	}
	return 0, 0 // not known
}

func (v view) events(p *printer) {
	all := v.report.Events
	if len(all) == 0 {
		return
	}
	p.line()
	p.line(cell{"Events", strong})
	for _, e := range all[max(0, len(all)-shownEvents):] {
		how := normal
		switch e.Level {
		case "warn":
			how = wary
		case "error":
			how = bad
		}
		p.line(cell{e.Time.Local().Format(time.TimeOnly), faint}, cell{fmt.Sprintf("%-5s", e.Level), how}, cell{e.Text, normal})
	}
}
