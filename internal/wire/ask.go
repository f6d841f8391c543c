package wire

import "encoding/binary"

// Ask, client to server, asks what the answer to another message would be if a
// certain client sent it. Nothing comes of the question: no port is opened, none
// changes hands.
type Ask struct {
	Identity [16]byte // of the client that the question is for, under the key of the one that asks; zero: none
	About    Message  // a Register or a Forward
}

// Answer, server to client, answers an Ask.
type Answer struct {
	About    MessageType // of what was asked about: TypeRegister or TypeForward
	Ref      uint16      // of that
	Code     DenyCode    // OK: it would be granted
	Standing Standing    // who has it now; only with OK
	Text     string      // why not, for people; only without OK
}

// Type returns the message's type.
func (Ask) Type() MessageType    { return TypeAsk }
func (Answer) Type() MessageType { return TypeAnswer }

func (m Ask) append(b []byte) []byte {
	b = append(append(b, m.Identity[:]...), byte(m.About.Type()))
	return m.About.append(b)
}

func (d *decoder) ask() (m Ask) {
	copy(m.Identity[:], d.take(len(m.Identity)))
	switch d.askable() {
	case TypeRegister:
		m.About = d.register()
	case TypeForward:
		m.About = d.forward()
	}
	return m
}

// askable is the type of a message that can be asked about.
func (d *decoder) askable() MessageType {
	t := MessageType(d.uint8())
	if t != TypeRegister && t != TypeForward {
		d.fail("about %v, which nobody can ask about", t)
	}
	return t
}

// append leaves out what does not go with the code.
func (m Answer) append(b []byte) []byte {
	if m.Code == OK {
		m.Text = ""
	} else {
		m.Standing = Vacant
	}
	b = append(b, byte(m.About))
	b = binary.BigEndian.AppendUint16(b, m.Ref)
	b = append(b, byte(m.Code), byte(m.Standing))
	return appendText(b, m.Text, MaxText)
}

func (d *decoder) answer() (m Answer) {
	m.About = d.askable()
	m.Ref = d.uint16()
	m.Code = d.code("code")
	m.Standing = Standing(d.uint8())
	m.Text = d.text("text")
	switch {
	case !m.Standing.known():
		d.fail("unknown standing %d", byte(m.Standing))
	case m.Code != OK && m.Standing != Vacant:
		d.fail("a standing goes with code OK and with no other")
	case m.Code == OK && m.Text != "":
		d.fail("code OK with a reason")
	}
	return m
}
