package wire

import (
	"errors"
	"io"
)

// MessageType says what a message on the control channel is. Zero is no type.
type MessageType byte

// The messages.
const (
	TypeWelcome    MessageType = 1
	TypeDeny       MessageType = 2
	TypeRegister   MessageType = 3
	TypeRegistered MessageType = 4
	TypeOpen       MessageType = 5
	TypeCancel     MessageType = 6
	TypeCanceled   MessageType = 7
	TypeNeed       MessageType = 8
	TypePing       MessageType = 9
	TypePong       MessageType = 10
	TypeGoAway     MessageType = 11
	TypeCarry      MessageType = 12
	TypeForward    MessageType = 13
	TypeForwarded  MessageType = 14
	TypeWithdraw   MessageType = 15
	TypeWithdrawn  MessageType = 16
	TypeAsk        MessageType = 17
	TypeAnswer     MessageType = 18
)

var messageNames = [...]string{
	TypeWelcome:    "Welcome",
	TypeDeny:       "Deny",
	TypeRegister:   "Register",
	TypeRegistered: "Registered",
	TypeOpen:       "Open",
	TypeCancel:     "Cancel",
	TypeCanceled:   "Canceled",
	TypeNeed:       "Need",
	TypePing:       "Ping",
	TypePong:       "Pong",
	TypeGoAway:     "GoAway",
	TypeCarry:      "Carry",
	TypeForward:    "Forward",
	TypeForwarded:  "Forwarded",
	TypeWithdraw:   "Withdraw",
	TypeWithdrawn:  "Withdrawn",
	TypeAsk:        "Ask",
	TypeAnswer:     "Answer",
}

// String returns the name of the message.
func (t MessageType) String() string { return codeName("message type", messageNames[:], byte(t)) }

func (t MessageType) known() bool {
	return int(t) < len(messageNames) && messageNames[t] != ""
}

const (
	// MessageHeaderSize is the length of a message's header in bytes: type 1,
	// length of the body 3, big-endian.
	MessageHeaderSize = 4

	// MaxMessage is the most bytes that the body of a message can have.
	MaxMessage = 4096
)

// Message is one message of the control channel: [Welcome], [Deny],
// [Register], [Registered], [Forward], [Forwarded], [Withdraw], [Withdrawn], [Ask], [Answer],
// [Open], [Carry], [Cancel], [Canceled], [Need], [Ping], [Pong] or [GoAway], by value.
type Message interface {
	Type() MessageType
	append(b []byte) []byte // the body
}

// AppendMessage appends m, header and body, to b.
func AppendMessage(b []byte, m Message) []byte {
	start := len(b)
	b = append(b, byte(m.Type()), 0, 0, 0)
	b = m.append(b)
	body := len(b) - start - MessageHeaderSize // far below MaxMessage: four strings at most
	b[start+1], b[start+2], b[start+3] = byte(body>>16), byte(body>>8), byte(body)
	return b
}

// ReadMessage reads one message from r and not a byte more. buf is scratch
// space that the message does not refer to afterwards; with
// MessageHeaderSize+MaxMessage bytes of it nothing else is allocated for
// reading, and a shorter one is replaced for the call.
//
// The error is [io.EOF] only if r ended before the message began, and
// [io.ErrUnexpectedEOF] if it ended in the middle; other errors of r pass as
// they are. A deadline on r is the caller's business.
func ReadMessage(r io.Reader, buf []byte) (Message, error) {
	if len(buf) < MessageHeaderSize+MaxMessage {
		buf = make([]byte, MessageHeaderSize+MaxMessage)
	}
	header := buf[:MessageHeaderSize]
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	t := MessageType(header[0])
	length := int(header[1])<<16 | int(header[2])<<8 | int(header[3])
	if err := checkEnvelope(t, length); err != nil {
		return nil, err
	}
	body := buf[MessageHeaderSize : MessageHeaderSize+length]
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return DecodeMessage(t, body)
}

// checkEnvelope is what a header has to pass before its body is read.
func checkEnvelope(t MessageType, length int) error {
	if !t.known() {
		return malformed("message", "unknown type %d", byte(t))
	}
	if length > MaxMessage {
		return malformed(t.String(), "a body of %d bytes, the limit is %d", length, MaxMessage)
	}
	return nil
}

// DecodeMessage reads the body of a message of type t. The message does not
// refer to body afterwards.
func DecodeMessage(t MessageType, body []byte) (Message, error) {
	if err := checkEnvelope(t, len(body)); err != nil {
		return nil, err
	}
	d := decoder{what: t.String(), rest: body}
	var m Message
	switch t {
	case TypeWelcome:
		m = d.welcome()
	case TypeDeny:
		m = d.deny()
	case TypeRegister:
		m = d.register()
	case TypeRegistered:
		m = d.registered()
	case TypeOpen:
		m = d.open()
	case TypeCancel:
		m = d.cancel()
	case TypeCanceled:
		m = d.canceled()
	case TypeNeed:
		m = d.need()
	case TypePing:
		m = Ping{Nonce: d.uint64()}
	case TypePong:
		m = Pong{Nonce: d.uint64()}
	case TypeGoAway:
		m = d.goAway()
	case TypeCarry:
		m = d.carry()
	case TypeForward:
		m = d.forward()
	case TypeForwarded:
		m = d.forwarded()
	case TypeWithdraw:
		m = d.withdraw()
	case TypeWithdrawn:
		m = Withdrawn(d.withdraw())
	case TypeAsk:
		m = d.ask()
	case TypeAnswer:
		m = d.answer()
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return m, nil
}
