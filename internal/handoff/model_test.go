package handoff

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The model drives one user through both machines, with a scheduler that picks
// among everything that may happen next: any message delivered or not yet, any
// timer, any connection dead with or without a word, the control connection
// lost, the client back as it was or newly started. What the real network
// cannot do (reorder one connection's bytes) the model cannot either.

const userBytes = 4

// frame is what travels on a pooled connection.
type frame struct {
	kind   string // start, data, ack
	number uint32
	index  int // of a data byte
}

// message is what travels on a control connection.
type message struct {
	kind   string // open, cancel, answer
	number uint32
	conn   *pooled
	answer Answer
}

// pooled is one connection and both directions' frames under way on it.
type pooled struct {
	flying             []frame // to the client, not there yet
	toClient, toServer []frame // there, not read yet
	mute               bool    // what is sent vanishes, and no end is seen
	serverClosed       bool
	clientClosed       bool
	stream             *clientStream // who reads it on the client
}

// clientStream is one attend on the client.
type clientStream struct {
	number    uint32
	conn      *pooled
	committed bool
	target    *modelTarget
}

// modelTarget is one dial of the target.
type modelTarget struct {
	got   []int
	reset bool
}

type model struct {
	t   *testing.T
	rng *rand.Rand
	now time.Time

	// The server's side of the one user.
	offer     Offer
	number    uint32
	current   *pooled
	copied    []int // bytes of the user not yet acknowledged
	sent      int   // bytes the user has given
	proceed   bool
	userReset bool
	timer     bool // the waiting time runs
	asking    bool // an answer is wanted, whenever there is a control connection

	// The control connection, and the client behind it.
	attached         bool
	down, up         []message // server to client, client to server
	ledger           Ledger
	streams          []*clientStream
	targets          []*modelTarget
	dialsWithNothing int       // replays that were allowed because nothing had been sent
	order            []*pooled // all connections, for a deterministic choice
	events           []string
}

func (m *model) log(format string, args ...any) {
	m.events = append(m.events, fmt.Sprintf(format, args...))
}

// send begins an attempt: open on control, START and the copy on a connection.
func (m *model) send() {
	m.number++
	m.asking = false
	m.current = &pooled{mute: m.rng.IntN(3) == 0}
	m.order = append(m.order, m.current)
	m.down = append(m.down, message{kind: "open", number: m.number, conn: m.current})
	m.toClient(frame{kind: "start", number: m.number})
	for _, i := range m.copied {
		m.toClient(frame{kind: "data", number: m.number, index: i})
	}
	m.timer = true
	m.log("send %d mute=%v", m.number, m.current.mute)
}

func (m *model) toClient(f frame) {
	if !m.current.mute && !m.current.clientClosed {
		m.current.flying = append(m.current.flying, f)
	}
}

func (m *model) act(a Action) {
	m.log("-> action %d", a)
	switch a {
	case Wait:
		m.timer = true
	case Ask:
		m.asking = true
		if !m.attached {
			return // asked on the next control connection
		}
		m.down = append(m.down, message{kind: "cancel", number: m.number, conn: m.current})
	case Replay:
		m.closeServer(m.current)
		if len(m.copied) == 0 {
			m.dialsWithNothing++
		}
		if m.attached {
			m.send()
			return
		}
		m.current = nil // waits for a session; sent on return
	case Proceed:
		m.proceed = true
		m.copied = nil
	case Reset:
		m.closeServer(m.current)
		m.userReset = true
	}
}

func (m *model) closeServer(c *pooled) { c.serverClosed = true; c.toServer = nil }

func (m *model) empty() bool { return m.sent == 0 }

// over reports that the user is the relay's or reset.
func (m *model) over() bool { return m.proceed || m.userReset }

// steps lists what may happen next.
func (m *model) steps() []func() {
	var all []func()
	add := func(f func()) { all = append(all, f) }
	if m.sent < userBytes && !m.userReset && m.current != nil {
		add(m.userSends)
	}
	if m.attached && len(m.down) > 0 {
		add(m.clientHears)
	}
	if m.attached && len(m.up) > 0 {
		add(m.serverHears)
	}
	if m.timer && !m.over() && m.current != nil {
		add(func() { m.timer = false; m.log("expired"); m.act(m.offer.On(Expired, m.empty())) })
	}
	if c := m.current; c != nil && !m.over() && len(c.toServer) > 0 {
		add(m.serverReads)
	}
	if c := m.current; c != nil && !m.over() && !c.serverClosed && m.rng.IntN(6) == 0 {
		add(func() { m.connectionDies(c) })
	}
	for _, c := range m.order {
		if len(c.flying) > 0 {
			add(func() { c.toClient, c.flying = append(c.toClient, c.flying[0]), c.flying[1:] })
		}
	}
	for _, s := range m.streams {
		if len(s.conn.toClient) > 0 && !s.conn.clientClosed {
			add(func() { m.clientReads(s) })
		}
	}
	if m.attached && !m.over() && m.rng.IntN(8) == 0 {
		add(m.controlLost)
	}
	if !m.attached && !m.over() {
		add(m.back)
		if m.rng.IntN(3) == 0 {
			add(m.newInstance)
		}
	}
	return all
}

func (m *model) userSends() {
	i := m.sent
	m.sent++
	m.log("user sends %d", i)
	if !m.proceed {
		m.copied = append(m.copied, i)
	}
	m.toClient(frame{kind: "data", number: m.number, index: i})
}

func (m *model) serverReads() {
	f := m.current.toServer[0]
	m.current.toServer = m.current.toServer[1:]
	if f.kind == "ack" && f.number == m.number {
		m.log("server reads ack %d", f.number)
		m.act(m.offer.On(Acked, m.empty()))
	}
}

// connectionDies breaks the current connection for both sides to see.
func (m *model) connectionDies(c *pooled) {
	m.log("connection dies")
	c.mute = true
	c.flying, c.toClient, c.toServer = nil, nil, nil
	m.clientClose(c)
	m.act(m.offer.On(Died, m.empty()))
}

func (m *model) clientClose(c *pooled) {
	c.clientClosed = true
	if c.stream != nil && c.stream.target != nil {
		c.stream.target.reset = true
	}
}

func (m *model) controlLost() {
	m.log("control lost")
	m.attached = false
	m.down, m.up = nil, nil
}

// back is the same instance on a new control connection.
func (m *model) back() {
	m.log("back")
	m.attached = true
	if m.current == nil {
		m.number = max(m.number, m.ledger.Last())
		m.send()
		return
	}
	if m.asking {
		m.act(Ask)
	}
}

// newInstance is the client's program started anew: its memory is gone, and
// its streams died with it.
func (m *model) newInstance() {
	m.log("new instance")
	for _, s := range m.streams {
		s.conn.mute = true
		s.conn.flying, s.conn.toClient, s.conn.toServer = nil, nil, nil
		m.clientClose(s.conn)
	}
	m.streams = nil
	m.ledger = Ledger{Most: m.ledger.Most}
	m.attached = true
	m.number = 0
	if m.current == nil {
		m.send()
		return
	}
	if !m.asking {
		m.connectionDies(m.current) // its process is gone; the server asks
	}
	if m.asking && !m.over() {
		m.act(m.offer.On(Abandoned, m.empty()))
	}
}

func (m *model) clientHears() {
	msg := m.down[0]
	m.down = m.down[1:]
	switch msg.kind {
	case "open":
		m.log("client hears open %d", msg.number)
		require.NoError(m.t, m.ledger.Open(msg.number, m.now))
		s := &clientStream{number: msg.number, conn: msg.conn}
		msg.conn.stream = s
		m.streams = append(m.streams, s)
	case "cancel":
		here := len(msg.conn.toClient) > 0 && !msg.conn.clientClosed
		a := m.ledger.Cancel(msg.number, here, m.now)
		m.log("client hears cancel %d: %v", msg.number, a)
		m.up = append(m.up, message{kind: "answer", number: msg.number, answer: a})
	}
}

func (m *model) serverHears() {
	msg := m.up[0]
	m.up = m.up[1:]
	if msg.number == m.number && !m.over() {
		m.log("server hears %v", msg.answer)
		m.act(m.offer.Answered(msg.answer, m.empty()))
	}
}

func (m *model) clientReads(s *clientStream) {
	f := s.conn.toClient[0]
	s.conn.toClient = s.conn.toClient[1:]
	if f.number != s.number {
		return
	}
	m.log("client reads %s %d", f.kind, f.number)
	if f.kind == "start" {
		if !m.ledger.Commit(s.number) {
			m.clientClose(s.conn)
			return
		}
		s.committed = true
		s.target = &modelTarget{}
		m.targets = append(m.targets, s.target)
		if !s.conn.mute && !s.conn.serverClosed {
			s.conn.toServer = append(s.conn.toServer, frame{kind: "ack", number: f.number})
		}
		return
	}
	if s.committed {
		s.target.got = append(s.target.got, f.index)
	}
}

// settle ends what is left: an end of file that both sides of a closed
// connection see.
func (m *model) settle() {
	for _, s := range m.streams {
		if s.conn.serverClosed || s.conn.mute {
			m.clientClose(s.conn)
		}
	}
	if m.proceed && (m.current.mute || m.current.clientClosed) {
		m.userReset = true // the relay's business: an end of file before FIN
	}
}
