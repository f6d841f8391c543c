package pool

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestProofWire pins the constants of the wire with values that were computed
// by another program (Python's hmac) from docs/PROTOCOL.md.
func TestProofWire(t *testing.T) {
	key := fixedKey(t)
	require.Equal(t, "8adc89f941958303", key.ID().String())

	hello := Hello{KeyID: key.ID(), Kind: KindPool, Data: []byte("hello")}
	require.Equal(t, "01018adc89f9419583030568656c6c6f", hex.EncodeToString(appendHello(nil, hello)))

	overTLS := transcript{class: classTLS, kind: KindPool, binding: bytes.Repeat([]byte{0xbb}, 32), hello: []byte("hello")}
	plain := transcript{class: classPlain, kind: 2,
		binding: append(bytes.Repeat([]byte{0xcc}, 32), bytes.Repeat([]byte{0xdd}, 32)...)}
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"TLS, client", key.proof(roleClient, overTLS), "8b8302a22a9571e9f4b01aeaa2f9b1798e6b80a5e3454339d32fb27205448ca0"},
		{"TLS, server", key.proof(roleServer, overTLS), "2e50368b6fc32e0bd59f8afd07ab9ce5b91c6312e6a2797c757a1f121f8aac61"},
		{"plain, client", key.proof(roleClient, plain), "fa08b08ddb71436b7e801a537d43e10812b45e49e5880f9ecdf8bd1f9ec3036e"},
		{"plain, server", key.proof(roleServer, plain), "bc3e013d283fded2118471476ad98fc3ab8693873c22b62cfbf225fc1241c41a"},
		{"session", key.Session([]byte("secret")).proof(roleClient, overTLS), "c24d85de5f6d7908d1da5dbca9defd10b56cf5a76cb6fbfa5312606d4572324a"},
	} {
		require.Equal(t, tt.want, hex.EncodeToString(tt.got), tt.name)
	}
}

func TestProofSucceeds(t *testing.T) {
	authority := newAuthority(t, "tunnel.example")
	key, other := NewKey(), NewKey()
	for _, tt := range []struct {
		name     string
		server   AcceptConfig
		client   Security
		wantKind Kind
	}{
		{"plain", AcceptConfig{TLS: TLSPlain}, Security{TLS: TLSPlain, Key: key}, KindPool},
		{"plain with a hello", AcceptConfig{TLS: TLSPlain}, Security{TLS: TLSPlain, Key: key, Kind: 2, Hello: bytes.Repeat([]byte("x"), 255)}, 2},
		{"self-signed", AcceptConfig{TLS: TLSSelfSigned}, Security{TLS: TLSSelfSigned, Key: key, Hello: []byte("hi")}, KindPool},
		{"default mode", AcceptConfig{}, Security{Key: other, Kind: 3}, 3},
		{"verified", AcceptConfig{TLS: TLSVerified, TLSConfig: authority.server},
			Security{TLS: TLSVerified, TLSConfig: authority.client, ServerName: "tunnel.example", Key: key, Hello: []byte("hi")}, KindPool},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Keys = KnownKeys(key, other)
			d := openDoor(t, tt.server)
			conn, err := d.secure(t, tt.client)
			require.NoError(t, err)
			defer conn.Close()

			hello := (<-d.arrivals).hello
			require.Equal(t, tt.client.Key.ID(), hello.KeyID)
			require.Equal(t, tt.wantKind, hello.Kind)
			require.Equal(t, string(tt.client.Hello), string(hello.Data))
			_, encrypted := conn.(*tls.Conn)
			require.Equal(t, tt.client.TLS != TLSPlain, encrypted)

			id := make([]byte, len(doorGreeting))
			_, err = io.ReadFull(conn, id)
			require.NoError(t, err)
			require.Equal(t, doorGreeting, string(id))
			require.EqualValues(t, 1, d.Stats().Accepted)
		})
	}
}

func TestWithoutKeys(t *testing.T) {
	for _, mode := range []TLSMode{TLSPlain, TLSSelfSigned} {
		d := openDoor(t, AcceptConfig{TLS: mode})
		conn, err := d.secure(t, Security{TLS: mode})
		require.NoError(t, err)
		id := make([]byte, len(doorGreeting))
		_, err = io.ReadFull(conn, id)
		require.NoError(t, err)
		require.Equal(t, doorGreeting, string(id), "without a key the server speaks first")
		require.Equal(t, Hello{Kind: KindPool}, (<-d.arrivals).hello)
		conn.Close()
	}
}

// modes runs a test in the modes that differ in the proof.
func modes(t *testing.T, f func(t *testing.T, mode TLSMode)) {
	t.Run("plain", func(t *testing.T) { f(t, TLSPlain) })
	t.Run("TLS", func(t *testing.T) { f(t, TLSSelfSigned) })
}

func TestProofRefused(t *testing.T) {
	key, other := NewKey(), NewKey()
	secret := []byte("told to one client only")
	bySession := func(hello Hello) (Key, bool) {
		if len(hello.Data) == 0 {
			return key, hello.KeyID == key.ID()
		}
		return key.Session(secret), hello.KeyID == key.ID()
	}
	forged := hide(&keyMaterial{id: key.ID(), mac: other.material().mac})
	for _, tt := range []struct {
		name   string
		keys   KeyFunc
		client Security
		log    string
	}{
		{"wrong key under a known ID", KnownKeys(key), Security{Key: forged}, "wrong proof"},
		{"unknown key", KnownKeys(key), Security{Key: other}, "unknown key"},
		{"a KeyFunc that knows nothing but says yes", func(Hello) (Key, bool) { return Key{}, true }, Security{Key: key}, "unknown key"},
		{"the key without the session's secret", bySession, Security{Key: key, Hello: []byte("session")}, "wrong proof"},
		{"another session's secret", bySession, Security{Key: key.Session([]byte("guess")), Hello: []byte("session")}, "wrong proof"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			modes(t, func(t *testing.T, mode TLSMode) {
				d := openDoor(t, AcceptConfig{TLS: mode, Keys: tt.keys})
				tt.client.TLS = mode
				_, err := d.secure(t, tt.client)
				require.ErrorIs(t, err, ErrRefused)
				require.NotErrorIs(t, err, ErrImpostor)
				line := <-d.log
				require.Equal(t, "WARN", line.level)
				require.Contains(t, line.text, tt.log)
				require.Contains(t, line.text, tt.client.Key.ID().String())
				require.Contains(t, line.text, "127.0.0.1")
				require.NotContains(t, line.text, key.Text())
				require.Equal(t, map[RejectReason]uint64{RejectProof: 1}, d.Stats().Rejected)
				require.Zero(t, d.Stats().Accepted)
			})
		})
	}
	t.Run("the session's secret opens", func(t *testing.T) {
		modes(t, func(t *testing.T, mode TLSMode) {
			d := openDoor(t, AcceptConfig{TLS: mode, Keys: bySession})
			conn, err := d.secure(t, Security{TLS: mode, Key: key.Session(secret), Hello: []byte("session")})
			require.NoError(t, err)
			conn.Close()
		})
	})
}

func TestClientWithoutKeyGetsNothing(t *testing.T) {
	modes(t, func(t *testing.T, mode TLSMode) {
		d := openDoor(t, AcceptConfig{TLS: mode, Keys: KnownKeys(NewKey()), HandshakeTimeout: 150 * time.Millisecond})
		conn, err := d.secure(t, Security{TLS: mode})
		require.NoError(t, err, "there is nothing to fail before the server's silence")
		defer conn.Close()
		n, err := conn.Read(make([]byte, 1))
		require.Zero(t, n)
		require.True(t, hungUp(err), "%v", err)
		require.Contains(t, (<-d.log).text, string(RejectTimeout))
		require.Equal(t, map[RejectReason]uint64{RejectTimeout: 1}, d.Stats().Rejected)
	})
}

func TestServerWithoutKeyIsNotTrusted(t *testing.T) {
	modes(t, func(t *testing.T, mode TLSMode) {
		d := openDoor(t, AcceptConfig{TLS: mode})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		s := Security{TLS: mode, Key: NewKey()}
		_, err := s.Secure(ctx, d.dial(t))
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
	})
}

// tamperConn flips bits in the first write, as someone on the path may.
type tamperConn struct {
	net.Conn
	index int
	done  bool
}

func (c *tamperConn) Write(b []byte) (int, error) {
	if !c.done {
		c.done = true
		b = bytes.Clone(b)
		b[c.index] ^= 0x40
	}
	return c.Conn.Write(b)
}

func TestTamperedHelloIsRefused(t *testing.T) {
	key := NewKey()
	for name, index := range map[string]int{
		"version": 0, "kind": 1, "key ID": 2, "hello": helloHeadSize + 1, "nonce or proof": helloHeadSize + 5 + 3,
	} {
		t.Run(name, func(t *testing.T) {
			modes(t, func(t *testing.T, mode TLSMode) {
				d := openDoor(t, AcceptConfig{TLS: mode, Keys: KnownKeys(key)})
				s := Security{TLS: mode}
				conn, err := d.secure(t, s)
				require.NoError(t, err)
				defer conn.Close()
				var binding []byte
				if session, ok := conn.(*tls.Conn); ok {
					binding, err = handshake(t.Context(), session) // done before: only asks for the binding
					require.NoError(t, err)
				}
				hello := Hello{KeyID: key.ID(), Kind: KindPool, Data: []byte("hello")}
				err = proveTo(&tamperConn{Conn: conn, index: index}, binding, key, hello)
				require.ErrorIs(t, err, ErrRefused)
				require.Contains(t, (<-d.log).text, "("+string(RejectProof)+")")
				require.Zero(t, d.Stats().Accepted)
			})
		})
	}
}

// recordConn keeps what the client sends.
type recordConn struct {
	net.Conn
	sent [][]byte
}

func (c *recordConn) Write(b []byte) (int, error) {
	c.sent = append(c.sent, bytes.Clone(b))
	return c.Conn.Write(b)
}

func TestReplayIsRefused(t *testing.T) {
	key := NewKey()
	d := openDoor(t, AcceptConfig{TLS: TLSPlain, Keys: KnownKeys(key)})
	tape := &recordConn{Conn: d.dial(t)}
	s := Security{TLS: TLSPlain, Key: key, Hello: []byte("hello")}
	conn, err := s.Secure(t.Context(), tape)
	require.NoError(t, err)
	conn.Close()
	<-d.arrivals
	require.Len(t, tape.sent, 2)

	replay := d.dial(t)
	defer replay.Close()
	_, err = replay.Write(tape.sent[0])
	require.NoError(t, err)
	_, err = io.ReadFull(replay, make([]byte, nonceSize))
	require.NoError(t, err)
	_, err = replay.Write(tape.sent[1])
	require.NoError(t, err)
	n, err := replay.Read(make([]byte, 1))
	require.Zero(t, n)
	require.True(t, hungUp(err), "%v", err)
	require.Contains(t, (<-d.log).text, "wrong proof")
	require.EqualValues(t, 1, d.Stats().Accepted)
}

// TestManInTheMiddle puts someone between who ends the client's TLS session
// himself and speaks his own to the server.
func TestManInTheMiddle(t *testing.T) {
	key := NewKey()
	config, err := serverTLSConfig(TLSSelfSigned, nil)
	require.NoError(t, err)
	for _, decrypts := range []bool{false, true} {
		d := openDoor(t, AcceptConfig{TLS: TLSSelfSigned, Keys: KnownKeys(key)})
		clientEnd, victim := net.Pipe()
		done := make(chan struct{})
		go func() { // ends when both sides of the relay are closed
			defer close(done)
			near, far := net.Conn(victim), d.dial(t)
			if decrypts {
				near = tls.Server(near, config)
				far = tls.Client(far, &tls.Config{InsecureSkipVerify: true})
			}
			back := make(chan struct{})
			go func() { // ends with the server's connection
				defer close(back)
				io.Copy(near, far)
				victim.Close()
			}()
			io.Copy(far, near)
			far.Close()
			<-back
		}()
		s := Security{TLS: TLSSelfSigned, Key: key}
		conn, err := s.Secure(t.Context(), clientEnd)
		if decrypts {
			require.ErrorIs(t, err, ErrRefused)
			require.Contains(t, (<-d.log).text, "wrong proof")
			require.Zero(t, d.Stats().Accepted)
		} else {
			require.NoError(t, err, "one who only forwards is part of every path")
			clientEnd.Close()
			conn.Close()
		}
		<-done
	}
}

func TestImpostor(t *testing.T) {
	key := NewKey()
	config, err := serverTLSConfig(TLSSelfSigned, nil)
	require.NoError(t, err)
	for name, answer := range map[string]func(clientProof []byte) []byte{
		"noise":            func([]byte) []byte { b := make([]byte, proofSize); rand.Read(b); return b },
		"the client's own": func(proof []byte) []byte { return proof },
	} {
		t.Run(name, func(t *testing.T) {
			modes(t, func(t *testing.T, mode TLSMode) {
				near, far := net.Pipe()
				played := make(chan error, 1)
				go func() { played <- impersonate(far, mode, config, answer) }()
				s := Security{TLS: mode, Key: key}
				_, err := s.Secure(t.Context(), near)
				require.ErrorIs(t, err, ErrImpostor)
				require.NotErrorIs(t, err, ErrRefused)
				require.NotContains(t, err.Error(), key.Text())
				require.NoError(t, <-played)
			})
		})
	}
}

// impersonate plays the server without its key.
func impersonate(conn net.Conn, mode TLSMode, config *tls.Config, answer func([]byte) []byte) error {
	defer conn.Close()
	stream := conn
	if mode != TLSPlain {
		stream = tls.Server(conn, config)
	}
	_, tail, err := readHello(stream)
	if err != nil {
		return err
	}
	proof := tail[:]
	if mode == TLSPlain {
		if _, proof, err = challenge(stream, tail); err != nil {
			return err
		}
	}
	_, err = stream.Write(answer(proof))
	return err
}

// FuzzReadHello feeds the server what a stranger may send.
func FuzzReadHello(f *testing.F) {
	good := appendHello(nil, Hello{KeyID: KeyID{1, 2}, Kind: 2, Data: []byte("hello")})
	f.Add(append(good, make([]byte, 32)...))
	f.Add(good)
	f.Add([]byte{})
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x00})
	f.Add(append([]byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 255}, make([]byte, 400)...))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bytes.NewReader(sent)
		hello, tail, err := readHello(r)
		read := len(sent) - r.Len()
		if err != nil {
			known := errors.Is(err, ErrTLSMismatch) || errors.Is(err, errVersion) || hungUp(err)
			require.True(t, known, "%v", err)
			return
		}
		require.LessOrEqual(t, len(hello.Data), maxHello)
		require.Equal(t, sent[:read], append(appendHello(nil, hello), tail[:]...), "it is not what was sent")
	})
}
