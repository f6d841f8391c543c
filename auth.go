package pool

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

// The proof of the key, as docs/PROTOCOL.md describes it. The client proves
// first, so that a stranger learns nothing from the server.
const (
	proofVersion  = 1
	proofSize     = sha256.Size
	nonceSize     = 32
	maxHello      = 255
	helloHeadSize = 1 + 1 + len(KeyID{}) + 1 // version, kind, key ID, length of the hello
)

// Kind says what a connection is for. It is part of the proof, so that a
// connection of one kind cannot be passed off as another.
type Kind byte

// KindPool is a pooled connection. All other values belong to who builds on
// the front door.
const KindPool Kind = 1

// Hello is what a client says of itself: the key it is about to prove, the kind
// of the connection, and up to 255 bytes that are opaque here. Data belongs to
// whoever the Hello is passed to.
type Hello struct {
	KeyID KeyID
	Kind  Kind
	Data  []byte
}

// The two ends of a connection, and how it is protected, in the words that
// enter the proof.
const (
	roleClient = "client"
	roleServer = "server"
	classPlain = "plain"
	classTLS   = "tls"
)

// transcript is what a proof speaks for.
type transcript struct {
	class   string
	kind    Kind
	binding []byte // TLS: the session's exporter; plain: both nonces
	hello   []byte
}

// proof computes what the given role has to send. Every field carries its
// length, so that no two transcripts are the same bytes.
func (k Key) proof(role string, t transcript) []byte {
	mac := hmac.New(sha256.New, k.material().mac)
	for _, field := range [...][]byte{
		[]byte("tunnelpool proof"), {proofVersion}, []byte(t.class), []byte(role),
		{byte(t.kind)}, t.binding, t.hello,
	} {
		var length [2]byte
		binary.BigEndian.PutUint16(length[:], uint16(len(field)))
		mac.Write(length[:])
		mac.Write(field)
	}
	return mac.Sum(nil)
}

// appendHello appends the wire form: head and data.
func appendHello(b []byte, h Hello) []byte {
	b = append(b, proofVersion, byte(h.Kind))
	b = append(b, h.KeyID[:]...)
	b = append(b, byte(len(h.Data)))
	return append(b, h.Data...)
}

// errVersion: the peer's first bytes are not a hello of this version.
var errVersion = errors.New("not a hello of this protocol version")

// readHello reads a stranger's hello and the 32 bytes that follow it in either
// mode: the proof under TLS, the nonce in plain mode. It takes not a byte more,
// and at most 298 in all.
func readHello(r io.Reader) (Hello, [32]byte, error) {
	var head [helloHeadSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Hello{}, [32]byte{}, fmt.Errorf("read hello: %w", err)
	}
	if looksLikeTLS(head[:]) {
		return Hello{}, [32]byte{}, fmt.Errorf("%w: the client speaks TLS where this side speaks plain TCP", ErrTLSMismatch)
	}
	if head[0] != proofVersion {
		return Hello{}, [32]byte{}, fmt.Errorf("%w: it begins with byte %d", errVersion, head[0])
	}
	length := int(head[helloHeadSize-1])
	body := make([]byte, length+32)
	if _, err := io.ReadFull(r, body); err != nil {
		return Hello{}, [32]byte{}, fmt.Errorf("read hello: %w", noEOF(err))
	}
	hello := Hello{KeyID: KeyID(head[2:10]), Kind: Kind(head[1]), Data: body[:length:length]}
	return hello, [32]byte(body[length:]), nil
}

// noEOF turns an end-of-file in the middle of something into an unexpected one.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// proofError: a client asked in proper form and could not prove the key.
type proofError struct {
	id    KeyID
	known bool
}

func (e *proofError) Error() string {
	if !e.known {
		return fmt.Sprintf("unknown key or session (key ID %s)", e.id)
	}
	return fmt.Sprintf("wrong proof of the key (key ID %s)", e.id)
}

// dummyKey stands in for keys that are not known, so that their proofs take the
// same path and time as wrong ones.
var dummyKey = sync.OnceValue(NewKey)

// verifyClient is the server's half of the proof on conn, whose TLS session has
// the given binding (nil: plain mode). heard is called when the hello is in; its
// error ends the matter.
func verifyClient(conn net.Conn, binding []byte, keys KeyFunc, heard func() error) (Hello, error) {
	hello, tail, err := readHello(conn)
	if err != nil {
		return Hello{}, err
	}
	if err := heard(); err != nil {
		return Hello{}, err
	}
	key, known := keys(hello)
	if !known || key.IsZero() {
		key, known = dummyKey(), false
	}
	said := transcript{class: classTLS, kind: hello.Kind, binding: binding, hello: hello.Data}
	proof := tail[:]
	if binding == nil {
		said.class = classPlain
		if said.binding, proof, err = challenge(conn, tail); err != nil {
			return Hello{}, err
		}
	}
	if !hmac.Equal(proof, key.proof(roleClient, said)) || !known {
		return Hello{}, &proofError{id: hello.KeyID, known: known}
	}
	if _, err := conn.Write(key.proof(roleServer, said)); err != nil {
		return Hello{}, fmt.Errorf("write proof: %w", err)
	}
	return hello, nil
}

// challenge sends the server's nonce, without which a recorded proof could be
// replayed, and reads the client's proof.
func challenge(conn net.Conn, clientNonce [nonceSize]byte) (binding, proof []byte, err error) {
	binding = make([]byte, 2*nonceSize)
	copy(binding, clientNonce[:])
	rand.Read(binding[nonceSize:]) // never fails since Go 1.24
	if _, err := conn.Write(binding[nonceSize:]); err != nil {
		return nil, nil, fmt.Errorf("write nonce: %w", err)
	}
	proof = make([]byte, proofSize)
	if _, err := io.ReadFull(conn, proof); err != nil {
		return nil, nil, fmt.Errorf("read proof: %w", noEOF(err))
	}
	return binding, proof, nil
}

// proveTo is the client's half of the proof on conn, whose TLS session has the
// given binding (nil: plain mode).
func proveTo(conn net.Conn, binding []byte, key Key, hello Hello) error {
	said := transcript{class: classTLS, kind: hello.Kind, binding: binding, hello: hello.Data}
	message := appendHello(make([]byte, 0, helloHeadSize+len(hello.Data)+32), hello)
	if binding == nil {
		said.class = classPlain
		said.binding = make([]byte, 2*nonceSize)
		rand.Read(said.binding[:nonceSize]) // never fails since Go 1.24
		if err := ask(conn, append(message, said.binding[:nonceSize]...), said.binding[nonceSize:]); err != nil {
			return err
		}
		message = message[:0]
	}
	var answer [proofSize]byte
	if err := ask(conn, append(message, key.proof(roleClient, said)...), answer[:]); err != nil {
		return err
	}
	if !hmac.Equal(answer[:], key.proof(roleServer, said)) {
		return ErrImpostor
	}
	return nil
}

// ask sends a message of the proof and fills answer with the server's. A server
// that is not satisfied closes the connection without a byte.
func ask(conn net.Conn, message, answer []byte) error {
	n := 0
	_, err := conn.Write(message)
	if err == nil {
		n, err = io.ReadFull(conn, answer)
	}
	switch {
	case err == nil:
		return nil
	case string(answer[:n]) == string(answerBusy) && hungUp(err):
		return ErrBusy
	case looksLikeTLS(answer[:n]):
		// Only a short answer is looked at: a nonce may begin with any bytes.
		return fmt.Errorf("%w: the server speaks TLS where this side speaks plain TCP", ErrTLSMismatch)
	case hungUp(err):
		return fmt.Errorf("%w: the server closed the connection (%w)", ErrRefused, err)
	}
	return fmt.Errorf("proof of the key: %d of %d bytes of the server's answer: %w", n, len(answer), err)
}

// hungUp reports whether err says that the other side closed or reset the
// connection.
func hungUp(err error) bool {
	for _, end := range [...]error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe,
		syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
		syscall.Errno(10053), syscall.Errno(10054), // Windows' ECONNABORTED and ECONNRESET
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
