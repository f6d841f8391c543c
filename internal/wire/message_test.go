package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// goldenMessages are the messages of the examples in docs/PROTOCOL.md.
var goldenMessages = []struct {
	hex string
	m   Message
}{
	{"01 00 00 3a " +
		"00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f " +
		"20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f " +
		"30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f " +
		"00 00 13 88 00 00 04 00 00 40",
		Welcome{
			Session: [16]byte(counting(0, 16)), Secret: Secret(counting(0x20, 32)),
			Heartbeat: 5 * time.Second, PoolMax: 1024, MaxServices: 64,
		}},
	{"02 00 00 0d 05 0b 74 72 79 20 61 74 20 6e 6f 6f 6e",
		Deny{Code: TooMany, Text: "try at noon"}},
	{"03 00 00 0f 00 01 01 1f 90 03 3a 3a 31 03 77 65 62 00 00",
		Register{Ref: 1, Network: NetworkTCP, Port: 8080, Bind: "::1", Name: "web"}},
	{"03 00 00 1a 00 02 02 00 35 00 03 64 6e 73 04 62 6c 75 65 0a 31 30 2e 30 2e 30 2e 30 2f 38",
		Register{Ref: 2, Network: NetworkUDP, Port: 53, Name: "dns", Group: "blue", Sources: "10.0.0.0/8"}},
	{"04 00 00 11 00 01 00 0c 30 2e 30 2e 30 2e 30 3a 38 30 38 30 00",
		Registered{Ref: 1, Code: OK, Addr: "0.0.0.0:8080"}},
	{"04 00 00 0b 00 01 03 00 06 6c 61 70 74 6f 70",
		Registered{Ref: 1, Code: PortHeld, Text: "laptop"}},
	{"0d 00 00 0b 00 03 01 07 64 62 3a 35 34 33 32", Forward{Ref: 3, Network: NetworkTCP, Target: "db:5432"}},
	{"0e 00 00 04 00 03 00 00", Forwarded{Ref: 3}},
	{"0e 00 00 06 00 03 0c 02 6e 6f", Forwarded{Ref: 3, Code: TargetNotAllowed, Text: "no"}},
	{"0f 00 00 03 01 00 01", Withdraw{What: WhatService, Ref: 1}},
	{"10 00 00 03 01 00 01", Withdrawn{What: WhatService, Ref: 1}},
	{"0f 00 00 03 02 00 03", Withdraw{What: WhatForward, Ref: 3}},
	{"0f 00 00 03 03 00 00", Withdraw{What: WhatRest}},
	{"05 00 00 1d 00 00 00 07 61 62 63 64 57 58 59 5a 00 01 " +
		"0e 31 39 32 2e 30 2e 32 2e 31 3a 34 30 30 30",
		Open{Stream: 7, ID: [8]byte([]byte("abcdWXYZ")), Ref: 1, User: "192.0.2.1:4000"}},
	{"06 00 00 04 00 00 00 07", Cancel{Stream: 7}},
	{"07 00 00 05 00 00 00 07 02", Canceled{Stream: 7, Outcome: Refused}},
	{"08 00 00 02 00 10", Need{Count: 16}},
	{"09 00 00 08 01 02 03 04 05 06 07 08", Ping{Nonce: 0x0102030405060708}},
	{"0a 00 00 08 01 02 03 04 05 06 07 08", Pong{Nonce: 0x0102030405060708}},
	{"0b 00 00 02 07 00", GoAway{Code: Shutdown}},
	{"0c 00 00 17 00 00 00 09 00 02 00 01 0e 31 39 32 2e 30 2e 32 2e 31 3a 34 30 30 30",
		Carry{Stream: 9, Carrier: 2, Ref: 1, User: "192.0.2.1:4000"}},
	{"11 00 00 1d 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f " +
		"03 00 01 01 1f 90 00 03 77 65 62 00 00",
		Ask{Identity: [16]byte(counting(0, 16)), About: Register{Ref: 1, Network: NetworkTCP, Port: 8080, Name: "web"}}},
	{"11 00 00 1c 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 " +
		"0d 00 03 01 07 64 62 3a 35 34 33 32",
		Ask{About: Forward{Ref: 3, Network: NetworkTCP, Target: "db:5432"}}},
	{"12 00 00 06 03 00 01 00 01 00", Answer{About: TypeRegister, Ref: 1, Standing: OwnUp}},
	{"12 00 00 08 0d 00 03 0c 00 02 6e 6f", Answer{About: TypeForward, Ref: 3, Code: TargetNotAllowed, Text: "no"}},
}

func TestMessageGolden(t *testing.T) {
	for _, g := range goldenMessages {
		name := g.m.Type().String()
		want := unhex(t, g.hex)
		got := AppendMessage([]byte("before"), g.m)
		if !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Errorf("%s: appended\n% x, want\n% x", name, got[len("before"):], want)
		}
		m, err := DecodeMessage(MessageType(want[0]), want[MessageHeaderSize:])
		if err != nil || m != g.m {
			t.Errorf("%s: decoded as %+v, %v, want %+v", name, m, err, g.m)
		}
	}
}

// TestMessageTypesCovered fails when a message has no golden bytes.
func TestMessageTypesCovered(t *testing.T) {
	golden := make(map[MessageType]bool)
	for _, g := range goldenMessages {
		golden[g.m.Type()] = true
	}
	for code := range 256 {
		if mt := MessageType(code); mt.known() != golden[mt] {
			t.Errorf("%v: known %v, golden bytes %v", mt, mt.known(), golden[mt])
		}
	}
}

// Messages at the bounds of their fields survive the way there and back.
func TestMessageRoundTrip(t *testing.T) {
	long := strings.Repeat("é", 127) + "x" // 255 bytes
	id := [8]byte([]byte("!~aZ09-_"))
	for _, m := range []Message{
		Welcome{Heartbeat: MinHeartbeat, PoolMax: 1, MaxServices: 1},
		Welcome{Heartbeat: MaxHeartbeat, PoolMax: MaxPool, MaxServices: 1<<16 - 1},
		Deny{Code: BadRequest, Text: long},
		Deny{Code: PortNotAllowed},
		Register{Network: NetworkTCP},
		Register{Ref: 1<<16 - 2, Network: NetworkUDP, Port: 1<<16 - 1, Bind: long, Name: long, Group: long, Sources: long},
		Forward{Network: NetworkTCP},
		Forward{Ref: 1<<16 - 2, Network: NetworkUDP, Target: long},
		Forwarded{}, Forwarded{Ref: 1<<16 - 1, Code: TargetNotAllowed, Text: long},
		Withdraw{What: WhatService}, Withdraw{What: WhatForward, Ref: 1<<16 - 2},
		Withdrawn{What: WhatService}, Withdrawn{What: WhatForward, Ref: 1<<16 - 2},
		Ask{About: Register{Ref: 1<<16 - 2, Network: NetworkUDP, Port: 1<<16 - 1, Bind: long, Name: long, Group: long, Sources: long}},
		Ask{About: Forward{Network: NetworkTCP, Target: long}},
		Answer{About: TypeForward, Standing: HolderDumb}, Answer{About: TypeRegister, Ref: 1<<16 - 1, Code: PortHeld, Text: long},
		Registered{Code: OK, Addr: long},
		Registered{Ref: 1<<16 - 1, Code: Internal, Text: long},
		Registered{Code: Internal},
		Open{Stream: 1, ID: id},
		Open{Stream: 1<<32 - 1, ID: id, Ref: 1<<16 - 1, User: long},
		Carry{Stream: 1}, Carry{Stream: 1<<32 - 1, Carrier: 1<<16 - 1, Ref: 1<<16 - 1, User: long},
		Cancel{Stream: 1}, Cancel{Stream: 1<<32 - 1},
		Canceled{Stream: 1, Outcome: Committed}, Canceled{Stream: 1<<32 - 1, Outcome: Unknown},
		Need{Count: 1},
		Need{Count: 1<<16 - 1},
		Ping{}, Ping{Nonce: 1<<64 - 1},
		Pong{}, Pong{Nonce: 1<<64 - 1},
		GoAway{Code: Replaced, Text: long},
	} {
		b := AppendMessage(nil, m)
		if body := len(b) - MessageHeaderSize; body > MaxMessage {
			t.Errorf("%v: a body of %d bytes", m.Type(), body)
		}
		got, err := ReadMessage(bytes.NewReader(b), nil)
		if err != nil || got != m {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
	}
}

// What an encoder cannot send as it is, it sends so that the peer is not
// misled: strings are made to fit, numbers out of range are refused.
func TestEncoderKeepsToTheProtocol(t *testing.T) {
	reason := "first line\nsecond \x1b[1mline\xff" + strings.Repeat("é", 200)
	b := AppendMessage(nil, Deny{Code: Internal, Text: reason})
	m, err := DecodeMessage(TypeDeny, b[MessageHeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	text := m.(Deny).Text
	if want := "first line second  [1mline\uFFFDé"; !strings.HasPrefix(text, want) || len(text) < MaxText-1 {
		t.Errorf("%d bytes: %q", len(text), text)
	}

	for _, r := range []Registered{
		{Ref: 3, Code: OK, Addr: "[::]:80", Text: "left over"},
		{Ref: 3, Code: PortTaken, Addr: "[::]:80", Text: "busy"},
	} {
		b := AppendMessage(nil, r)
		m, err := DecodeMessage(TypeRegistered, b[MessageHeaderSize:])
		if err != nil {
			t.Errorf("%+v: %v", r, err)
			continue
		}
		if got := m.(Registered); (got.Addr != "") != (r.Code == OK) || (got.Text != "") != (r.Code != OK) {
			t.Errorf("%+v became %+v", r, got)
		}
	}

	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond, MaxHeartbeat + time.Second, 1<<63 - 1, (1<<32 + 5000) * time.Millisecond} {
		b := AppendMessage(nil, Welcome{Heartbeat: d, PoolMax: 1, MaxServices: 1})
		if m, err := DecodeMessage(TypeWelcome, b[MessageHeaderSize:]); !errors.Is(err, ErrMalformed) {
			t.Errorf("a heartbeat of %v became %+v, %v", d, m, err)
		}
	}
}

// Every message cut short anywhere, or with a byte too many, is refused.
func TestDecodeMessageLengths(t *testing.T) {
	for _, g := range goldenMessages {
		body := unhex(t, g.hex)[MessageHeaderSize:]
		for n := range body {
			if m, err := DecodeMessage(g.m.Type(), body[:n]); !errors.Is(err, ErrMalformed) || m != nil {
				t.Errorf("%v, %d of %d bytes: %+v, %v", g.m.Type(), n, len(body), m, err)
			}
		}
		if m, err := DecodeMessage(g.m.Type(), append(body, 0)); !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%v with a trailing byte: %+v, %v", g.m.Type(), m, err)
		}
	}
}

func TestDecodeMessageMalformed(t *testing.T) {
	welcome := strings.Repeat("00", 48)
	id := " 61 62 63 64 57 58 59 5a "
	for _, c := range []struct {
		name string
		typ  MessageType
		hex  string
		why  string
	}{
		{"type 0", 0, "", "unknown type 0"},
		{"Cancel of stream 0", TypeCancel, "00 00 00 00", "stream 0"},
		{"Canceled of stream 0", TypeCanceled, "00 00 00 00 01", "stream 0"},
		{"outcome 0", TypeCanceled, "00 00 00 07 00", "unknown outcome 0"},
		{"outcome 4", TypeCanceled, "00 00 00 07 04", "unknown outcome 4"},
		{"Canceled without an outcome", TypeCanceled, "00 00 00 07", "middle of a field"},
		{"Carry of stream 0", TypeCarry, "00 00 00 00 00 01 00 01 00", "stream 0"},
		{"type 19", 19, "", "unknown type 19"},
		{"Ask about a Ping", TypeAsk, strings.Repeat("00", 16) + "09 00 00 00 00 00 00 00 00", "nobody can ask about"},
		{"Ask about nothing", TypeAsk, strings.Repeat("00", 16), "middle of a field"},
		{"Ask about a Register of network 3", TypeAsk, strings.Repeat("00", 16) + "03 00 01 03 00 50 00 00 00 00", "unknown network 3"},
		{"Ask about a Forward with a byte too many", TypeAsk, strings.Repeat("00", 16) + "0d 00 01 01 00 00", "1 bytes after"},
		{"Answer about a Ping", TypeAnswer, "09 00 01 00 00 00", "nobody can ask about"},
		{"Answer with standing 5", TypeAnswer, "03 00 01 00 05 00", "unknown standing 5"},
		{"Answer with code 13", TypeAnswer, "03 00 01 0d 00 00", "code"},
		{"Answer that denies, with a standing", TypeAnswer, "03 00 01 03 01 00", "a standing goes with"},
		{"Answer that grants, with a reason", TypeAnswer, "03 00 01 00 00 01 61", "code OK with a reason"},
		{"type 255", 255, "", "unknown type 255"},
		{"a body over the cap", TypeDeny, strings.Repeat("00", MaxMessage+1), "4097 bytes"},
		{"heartbeat 0", TypeWelcome, welcome + "00 00 00 00 00 00 04 00 00 40", "heartbeat"},
		{"heartbeat too short", TypeWelcome, welcome + "00 00 00 09 00 00 04 00 00 40", "heartbeat"},
		{"heartbeat too long", TypeWelcome, welcome + "00 09 27 c1 00 00 04 00 00 40", "heartbeat"},
		{"no pool", TypeWelcome, welcome + "00 00 13 88 00 00 00 00 00 40", "pool"},
		{"pool too large", TypeWelcome, welcome + "00 00 13 88 00 10 00 01 00 40", "pool"},
		{"no services", TypeWelcome, welcome + "00 00 13 88 00 00 04 00 00 00", "services"},
		{"Deny with OK", TypeDeny, "00 00", "code OK"},
		{"Deny with an unknown code", TypeDeny, "0d 00", "unknown code 13"},
		{"Deny in Latin-1", TypeDeny, "01 01 e9", "UTF-8"},
		{"Deny with half a character", TypeDeny, "01 01 c3", "UTF-8"},
		{"Deny with a surrogate", TypeDeny, "01 03 ed a0 80", "UTF-8"},
		{"Deny with an escape", TypeDeny, "01 02 41 1b", "U+001B at byte 1"},
		{"Deny with a C1 control", TypeDeny, "01 02 c2 85", "U+0085 at byte 0"},
		{"Deny with text that ends early", TypeDeny, "01 05 41 41", "middle of a field"},
		{"GoAway with OK", TypeGoAway, "00 00", "code OK"},
		{"GoAway with an unknown code", TypeGoAway, "ff 00", "unknown code 255"},
		{"the ref of a probe", TypeRegister, "ff ff 01 1f 90 00 00 00 00", "ref 65535"},
		{"network 0", TypeRegister, "00 01 00 1f 90 00 00 00 00", "network 0"},
		{"network 3", TypeRegister, "00 01 03 1f 90 00 00 00 00", "network 3"},
		{"a service with a control character", TypeRegister, "00 01 01 1f 90 00 01 00 00 00", "name: control character"},
		{"OK without an address", TypeRegistered, "00 01 00 00 00", "address"},
		{"OK with a reason", TypeRegistered, "00 01 00 01 41 01 41", "reason"},
		{"denied with an address", TypeRegistered, "00 01 02 01 41 00", "address"},
		{"Registered with an unknown code", TypeRegistered, "00 01 0d 00 00", "unknown code 13"},
		{"the ref of a probe in a Forward", TypeForward, "ff ff 01 00", "ref 65535"},
		{"a Forward to network 3", TypeForward, "00 01 03 00", "network 3"},
		{"Forwarded with OK and a reason", TypeForwarded, "00 01 00 01 41", "reason"},
		{"Forwarded with an unknown code", TypeForwarded, "00 01 0d 00", "unknown code 13"},
		{"a Withdraw of kind 0", TypeWithdraw, "00 00 01", "unknown kind 0"},
		{"a Withdraw of kind 4", TypeWithdraw, "04 00 01", "unknown kind 4"},
		{"a Withdraw of the rest with a ref", TypeWithdraw, "03 00 01", "ref 1 of what has none"},
		{"a Withdraw of the ref of a probe", TypeWithdraw, "01 ff ff", "ref 65535"},
		{"a Withdrawn of kind 4", TypeWithdrawn, "04 00 01", "unknown kind 4"},
		{"a Withdrawn without a ref", TypeWithdrawn, "01", "middle of a field"},
		{"Open of stream 0", TypeOpen, "00 00 00 00" + id + "00 01 00", "stream 0"},
		{"an ID with a space", TypeOpen, "00 00 00 01 61 62 63 64 57 58 59 20 00 01 00", "ID"},
		{"an ID with DEL", TypeOpen, "00 00 00 01 7f 62 63 64 57 58 59 5a 00 01 00", "ID"},
		{"an ID of zeros", TypeOpen, "00 00 00 01 00 00 00 00 00 00 00 00 00 01 00", "ID"},
		{"a user with a newline", TypeOpen, "00 00 00 01" + id + "00 01 01 0a", "user: control character"},
		{"Need of nothing", TypeNeed, "00 00", "nothing"},
		{"Ping of 9 bytes", TypePing, "00 00 00 00 00 00 00 00 00", "1 bytes after"},
	} {
		m, err := DecodeMessage(c.typ, unhex(t, c.hex))
		if !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%s: %+v, %v", c.name, m, err)
			continue
		}
		if !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %q does not say %q", c.name, err, c.why)
		}
		checkMalformed(t, err)
	}
}

func TestReadMessage(t *testing.T) {
	var sent []byte
	for _, g := range goldenMessages {
		sent = AppendMessage(sent, g.m)
	}
	r := iotest.OneByteReader(bytes.NewReader(sent))
	buf := make([]byte, MessageHeaderSize+MaxMessage)
	var got []Message
	for range goldenMessages {
		m, err := ReadMessage(r, buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
		clear(buf) // a message must not live in it
	}
	for i, g := range goldenMessages {
		if got[i] != g.m {
			t.Errorf("read %+v, want %+v", got[i], g.m)
		}
	}
	if m, err := ReadMessage(r, buf); err != io.EOF {
		t.Errorf("at the end: %+v, %v", m, err)
	}
}

func TestReadMessageErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		hex  string
		want error
	}{
		{"nothing", "", io.EOF},
		{"half a header", "09 00", io.ErrUnexpectedEOF},
		{"a header alone", "09 00 00 08", io.ErrUnexpectedEOF},
		{"half a body", "09 00 00 08 01 02", io.ErrUnexpectedEOF},
		{"unknown type", "0d 00 00 04 00 00 00 07", ErrMalformed},
		{"too long by one", "02 00 10 01", ErrMalformed},
		{"longest length", "02 ff ff ff", ErrMalformed},
		{"a bad body", "08 00 00 02 00 00", ErrMalformed},
		{"HTTP instead", "47 45 54 20 2f 20 48 54 54 50", ErrMalformed},
	} {
		m, err := ReadMessage(bytes.NewReader(unhex(t, c.hex)), nil)
		if !errors.Is(err, c.want) || m != nil {
			t.Errorf("%s: %+v, %v, want %v", c.name, m, err, c.want)
		}
	}
	broken := errors.New("broken")
	for _, given := range []string{"", "09 00 00 08 01"} {
		r := io.MultiReader(bytes.NewReader(unhex(t, given)), iotest.ErrReader(broken))
		if m, err := ReadMessage(r, nil); err != broken || m != nil {
			t.Errorf("after %q: %+v, %v, want the reader's error", given, m, err)
		}
	}
}

// A header that announces too much is refused before its body is waited for.
func TestReadMessageStopsAtTheHeader(t *testing.T) {
	for _, header := range []string{"02 00 10 01", "13 00 00 01"} {
		r := bytes.NewReader(append(unhex(t, header), "the rest"...))
		if _, err := ReadMessage(r, nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", header, err)
		}
		if r.Len() != len("the rest") {
			t.Errorf("%s: %d bytes of the body were read", header, len("the rest")-r.Len())
		}
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	w := Welcome{Secret: Secret(bytes.Repeat([]byte("S"), 32)), Heartbeat: time.Second}
	js, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	shown := string(js)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U"} {
		shown += fmt.Sprintf(verb, w) + fmt.Sprintf(verb, w.Secret) + fmt.Sprintf(verb, &w)
	}
	for _, leak := range []string{"SS", "5353", "83 83", "83, 83", "0x53, 0x53", "123 123", "U+0053", "1010011"} {
		if strings.Contains(shown, leak) {
			t.Errorf("the secret shows as %q in %s", leak, shown)
		}
	}
	// It still is its bytes to those who need them.
	if !reflect.DeepEqual(w.Secret[:], bytes.Repeat([]byte("S"), 32)) {
		t.Error("the secret changed")
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, g := range goldenMessages {
		b := unhex(f, g.hex)
		f.Add(b[0], b[MessageHeaderSize:])
		f.Add(b[0], b[MessageHeaderSize:len(b)-1])
	}
	f.Add(byte(6), []byte{0, 0, 0, 7})
	f.Add(byte(2), make([]byte, MaxMessage+1))
	f.Fuzz(func(t *testing.T, typ byte, body []byte) {
		given := bytes.Clone(body)
		m, err := DecodeMessage(MessageType(typ), body)
		if !bytes.Equal(given, body) {
			t.Error("the body was written to")
		}
		if err != nil {
			checkMalformed(t, err)
			return
		}
		clear(body)
		again := AppendMessage(nil, m)
		if again[0] != typ || !bytes.Equal(again[MessageHeaderSize:], given) {
			t.Errorf("%d % x became % x", typ, given, again)
		}
	})
}

func FuzzReadMessage(f *testing.F) {
	var all []byte
	for _, g := range goldenMessages {
		b := unhex(f, g.hex)
		f.Add(b)
		all = append(all, b...)
	}
	f.Add(all)
	f.Add(unhex(f, "02 ff ff ff"))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		buf := make([]byte, MessageHeaderSize+MaxMessage)
		for {
			from := len(b) - r.Len()
			m, err := ReadMessage(r, buf)
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					checkMalformed(t, err)
				}
				return
			}
			if read := b[from : len(b)-r.Len()]; !bytes.Equal(AppendMessage(nil, m), read) {
				t.Errorf("% x became %+v", read, m)
			}
		}
	})
}
