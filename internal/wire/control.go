package wire

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Bounds of what a Welcome can grant.
const (
	MinHeartbeat = 10 * time.Millisecond
	MaxHeartbeat = 10 * time.Minute
	MaxPool      = 1 << 20 // pooled connections of one session
)

// What a Register can ask for a port of.
const (
	NetworkTCP = 1
	NetworkUDP = 2
)

// What a Withdraw takes back.
const (
	WhatService = 1
	WhatForward = 2
	WhatRest    = 3 // services of former sessions that this one has not registered
)

// RefProbe is the number that no service can have: an Open of it is reserved
// for a probe.
const RefProbe = 1<<16 - 1

// Secret is a session's secret. Printed, logged or encoded as text it is a
// placeholder, so that a Welcome can be logged.
type Secret [32]byte

// Format writes a placeholder, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "(secret)") }

// MarshalText returns a placeholder, for encoding/json and log/slog.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Welcome, server to client, grants a session. It is the first message on its
// control channel.
type Welcome struct {
	Session     [SessionSize]byte // names the session; the hello of its pooled connections
	Secret      Secret            // keys the proof of those connections
	Heartbeat   time.Duration     // between two beats; whole milliseconds, MinHeartbeat to MaxHeartbeat
	PoolMax     uint32            // pooled connections the server takes, 1 to MaxPool
	MaxServices uint16            // services the server takes, at least 1
}

// Deny, server to client, refuses a session. It is the first and last message
// on its control channel.
type Deny struct {
	Code DenyCode // not OK
	Text string   // for people
}

// Register, client to server, asks for a public port.
type Register struct {
	Ref     uint16 // the client's number for the service, not RefProbe; in the answer and in every Open
	Network byte   // NetworkTCP or NetworkUDP
	Port    uint16 // 0: the server chooses
	Bind    string // IP address to listen on; empty: the server's default
	Name    string // of the service, for people; may be empty
	Group   string // whose clients share the port; empty: none
	Sources string // prefixes of users that are let in, separated by commas; empty: all
}

// Registered, server to client, answers a Register.
type Registered struct {
	Ref  uint16
	Code DenyCode // OK: the port is open
	Addr string   // where it listens, address:port; only with OK, and then never empty
	Text string   // why not, for people; only without OK
}

// Open hands a user over: stream Stream begins on the pooled connection ID. The
// server sends it for a service's user, the client for a forward's.
type Open struct {
	Stream uint32  // never 0
	ID     [8]byte // printable ASCII without spaces
	Ref    uint16  // of the service, or the forward
	User   string  // address:port of the user
}

// Carry, server to client, hands a user over as Open does, on a carrier.
type Carry struct {
	Stream  uint32 // never 0
	Carrier uint16 // the number that the client gave the carrier
	Ref     uint16 // of the service
	User    string // address:port of the user
}

// Forward, client to server, asks whether users of the client may reach a target
// of the server's.
type Forward struct {
	Ref     uint16 // the client's number for the forward, not RefProbe; in the answer and in every Open
	Network byte   // NetworkTCP or NetworkUDP
	Target  string // host:port
}

// Forwarded, server to client, answers a Forward.
type Forwarded struct {
	Ref  uint16
	Code DenyCode // OK: users may come
	Text string   // why not, for people; only without OK
}

// Withdraw, client to server, takes a service or a forward back.
type Withdraw struct {
	What byte   // WhatService, WhatForward or WhatRest
	Ref  uint16 // of the Register or Forward, not RefProbe; 0 with WhatRest
}

// Withdrawn answers a Withdraw: nothing more comes under that ref.
type Withdrawn struct {
	What byte
	Ref  uint16
}

// Cancel, from whoever sent the Open, asks what became of a stream whose ACK is late.
type Cancel struct {
	Stream uint32 // never 0
}

// Canceled answers a Cancel.
type Canceled struct {
	Stream  uint32 // never 0
	Outcome Outcome
}

// Need, server to client, asks for more pooled connections at once.
type Need struct {
	Count uint16 // at least 1
}

// Ping asks for a Pong with the same nonce. Both sides send it.
type Ping struct{ Nonce uint64 }

// Pong answers a Ping.
type Pong struct{ Nonce uint64 }

// GoAway says that its sender is about to end the session: no new streams.
type GoAway struct {
	Code DenyCode // not OK
	Text string   // for people
}

// Type returns the message's type.
func (Welcome) Type() MessageType    { return TypeWelcome }
func (Deny) Type() MessageType       { return TypeDeny }
func (Register) Type() MessageType   { return TypeRegister }
func (Registered) Type() MessageType { return TypeRegistered }
func (Open) Type() MessageType       { return TypeOpen }
func (Cancel) Type() MessageType     { return TypeCancel }
func (Canceled) Type() MessageType   { return TypeCanceled }
func (Need) Type() MessageType       { return TypeNeed }
func (Ping) Type() MessageType       { return TypePing }
func (Pong) Type() MessageType       { return TypePong }
func (GoAway) Type() MessageType     { return TypeGoAway }
func (Carry) Type() MessageType      { return TypeCarry }
func (Forward) Type() MessageType    { return TypeForward }
func (Forwarded) Type() MessageType  { return TypeForwarded }
func (Withdraw) Type() MessageType   { return TypeWithdraw }
func (Withdrawn) Type() MessageType  { return TypeWithdrawn }

func (m Welcome) append(b []byte) []byte {
	b = append(b, m.Session[:]...)
	b = append(b, m.Secret[:]...)
	b = appendMillis(b, m.Heartbeat)
	b = binary.BigEndian.AppendUint32(b, m.PoolMax)
	return binary.BigEndian.AppendUint16(b, m.MaxServices)
}

func (d *decoder) welcome() (m Welcome) {
	copy(m.Session[:], d.take(len(m.Session)))
	copy(m.Secret[:], d.take(len(m.Secret)))
	m.Heartbeat = d.millis()
	m.PoolMax = d.uint32()
	m.MaxServices = d.uint16()
	if m.Heartbeat < MinHeartbeat || m.Heartbeat > MaxHeartbeat {
		d.fail("heartbeat of %v, allowed are %v to %v", m.Heartbeat, MinHeartbeat, MaxHeartbeat)
	}
	if m.PoolMax < 1 || m.PoolMax > MaxPool {
		d.fail("a pool of %d, allowed are 1 to %d", m.PoolMax, MaxPool)
	}
	if m.MaxServices < 1 {
		d.fail("no services allowed")
	}
	return m
}

func (m Deny) append(b []byte) []byte {
	return appendText(append(b, byte(m.Code)), m.Text, MaxText)
}

func (d *decoder) deny() Deny {
	code, text := d.reason()
	return Deny{Code: code, Text: text}
}

func (m GoAway) append(b []byte) []byte {
	return appendText(append(b, byte(m.Code)), m.Text, MaxText)
}

func (d *decoder) goAway() GoAway {
	code, text := d.reason()
	return GoAway{Code: code, Text: text}
}

func (d *decoder) reason() (code DenyCode, text string) {
	code = d.code("code")
	if code == OK {
		d.fail("code OK is no reason")
	}
	return code, d.text("text")
}

func (m Register) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, m.Ref)
	b = append(b, m.Network)
	b = binary.BigEndian.AppendUint16(b, m.Port)
	b = appendText(b, m.Bind, MaxText)
	b = appendText(b, m.Name, MaxText)
	b = appendText(b, m.Group, MaxText)
	return appendText(b, m.Sources, MaxText)
}

func (d *decoder) register() (m Register) {
	m.Ref, m.Network = d.ref(), d.network()
	m.Port = d.uint16()
	m.Bind = d.text("bind")
	m.Name = d.text("name")
	m.Group = d.text("group")
	m.Sources = d.text("sources")
	return m
}

// ref is the client's number for a service or a forward.
func (d *decoder) ref() uint16 {
	ref := d.uint16()
	if ref == RefProbe {
		d.fail("ref %d is reserved", ref)
	}
	return ref
}

func (d *decoder) network() byte {
	network := d.uint8()
	if network != NetworkTCP && network != NetworkUDP {
		d.fail("unknown network %d", network)
	}
	return network
}

// append leaves out the string that does not go with the code.
func (m Registered) append(b []byte) []byte {
	if m.Code == OK {
		m.Text = ""
	} else {
		m.Addr = ""
	}
	b = binary.BigEndian.AppendUint16(b, m.Ref)
	b = append(b, byte(m.Code))
	b = appendText(b, m.Addr, MaxText)
	return appendText(b, m.Text, MaxText)
}

func (d *decoder) registered() (m Registered) {
	m.Ref = d.uint16()
	m.Code = d.code("code")
	m.Addr = d.text("address")
	m.Text = d.text("text")
	if (m.Code == OK) != (m.Addr != "") {
		d.fail("an address goes with code OK and with no other")
	}
	if m.Code == OK && m.Text != "" {
		d.fail("code OK with a reason")
	}
	return m
}

func (m Open) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, m.Stream)
	b = append(b, m.ID[:]...)
	b = binary.BigEndian.AppendUint16(b, m.Ref)
	return appendText(b, m.User, MaxText)
}

func (d *decoder) open() (m Open) {
	m.Stream = d.stream()
	copy(m.ID[:], d.take(len(m.ID)))
	for _, c := range m.ID {
		if c <= ' ' || c > '~' {
			d.fail("the connection's ID is not printable ASCII")
		}
	}
	m.Ref = d.uint16()
	m.User = d.text("user")
	return m
}

func (m Carry) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, m.Stream)
	b = binary.BigEndian.AppendUint16(b, m.Carrier)
	b = binary.BigEndian.AppendUint16(b, m.Ref)
	return appendText(b, m.User, MaxText)
}

func (d *decoder) carry() (m Carry) {
	m.Stream = d.stream()
	m.Carrier = d.uint16()
	m.Ref = d.uint16()
	m.User = d.text("user")
	return m
}

func (m Forward) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, m.Ref)
	return appendText(append(b, m.Network), m.Target, MaxText)
}

func (d *decoder) forward() (m Forward) {
	m.Ref, m.Network = d.ref(), d.network()
	m.Target = d.text("target")
	return m
}

// append leaves out a reason that does not go with the code.
func (m Forwarded) append(b []byte) []byte {
	if m.Code == OK {
		m.Text = ""
	}
	b = binary.BigEndian.AppendUint16(b, m.Ref)
	return appendText(append(b, byte(m.Code)), m.Text, MaxText)
}

func (d *decoder) forwarded() (m Forwarded) {
	m.Ref = d.uint16()
	m.Code = d.code("code")
	m.Text = d.text("text")
	if m.Code == OK && m.Text != "" {
		d.fail("code OK with a reason")
	}
	return m
}

func (m Withdraw) append(b []byte) []byte {
	return binary.BigEndian.AppendUint16(append(b, m.What), m.Ref)
}

func (m Withdrawn) append(b []byte) []byte { return Withdraw(m).append(b) }

func (d *decoder) withdraw() (m Withdraw) {
	if m.What = d.uint8(); m.What < WhatService || m.What > WhatRest {
		d.fail("unknown kind %d of what is withdrawn", m.What)
	}
	if m.Ref = d.ref(); m.What == WhatRest && m.Ref != 0 {
		d.fail("ref %d of what has none", m.Ref)
	}
	return m
}

func (m Cancel) append(b []byte) []byte { return binary.BigEndian.AppendUint32(b, m.Stream) }

func (d *decoder) cancel() (m Cancel) {
	m.Stream = d.stream()
	return m
}

func (m Canceled) append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, m.Stream), byte(m.Outcome))
}

func (d *decoder) canceled() (m Canceled) {
	m.Stream = d.stream()
	m.Outcome = Outcome(d.uint8())
	if !m.Outcome.known() {
		d.fail("unknown outcome %d", byte(m.Outcome))
	}
	return m
}

func (m Need) append(b []byte) []byte {
	return binary.BigEndian.AppendUint16(b, m.Count)
}

func (d *decoder) need() Need {
	count := d.uint16()
	if count == 0 {
		d.fail("it asks for nothing")
	}
	return Need{Count: count}
}

func (m Ping) append(b []byte) []byte { return binary.BigEndian.AppendUint64(b, m.Nonce) }

func (m Pong) append(b []byte) []byte { return binary.BigEndian.AppendUint64(b, m.Nonce) }
