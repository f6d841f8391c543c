package tunnel

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/wire"
)

// What a peer says may be made to forge a log line, or to command the terminal
// of whoever reads the log.
var nasty = map[string]string{
	"newline":           "a\nINFO forged line",
	"carriage return":   "a\rINFO forged",
	"escape sequence":   "\x1b]0;owned\x07\x1b[2J",
	"C1 escape":         "\u009b31mred",
	"nul":               "a\x00b",
	"invalid UTF-8":     "\xff\xfe\x80abc",
	"bidi override":     "\u202egnp.exe",
	"line separator":    "a\u2028INFO forged",
	"zero width, BOM":   "a\u200b\ufeffb",
	"quotes and escape": `"a\n" \`,
}

// fill stands for a nasty text in a message that is made the proper way, where
// control characters would be replaced.
func fill(text string) string { return strings.Repeat("\u00a7", len(text)/2) + "z"[:len(text)%2] }

// smuggle puts the text where its stand-in is.
func smuggle(message []byte, text string) []byte {
	stand := []byte(fill(text))
	if !bytes.Contains(message, stand) {
		panic("the stand-in is not in the message")
	}
	return bytes.ReplaceAll(message, stand, []byte(text))
}

// clean fails the test unless every line is text for people and nothing else.
func (r *recorder) clean(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(t, r.lines)
	for _, line := range r.lines {
		printable(t, line)
	}
}

func printable(t *testing.T, line string) {
	t.Helper()
	require.True(t, utf8.ValidString(line), "%q", line)
	for _, c := range line {
		require.True(t, strconv.IsPrint(c), "%U in %q", c, line)
	}
}

func TestServerLogsNothingUnescaped(t *testing.T) {
	join := func(name string) []byte {
		j := wire.Join{Name: name}
		rand.Read(j.Identity[:])
		return wire.AppendJoin(nil, j)
	}
	for place, play := range map[string]func(t *testing.T, h *host, text string) (until string){
		"client name": func(t *testing.T, h *host, text string) string {
			conn, err := h.knock(t, h.key, wire.KindControl, smuggle(join(fill(text)), text))
			require.NoError(t, err)
			m, err := wire.ReadMessage(conn, nil)
			require.NoError(t, err)
			if deny, ok := m.(wire.Deny); ok {
				require.Equal(t, wire.BadRequest, deny.Code)
				return ""
			}
			conn.Close()
			return "left: "
		},
		"service name": func(t *testing.T, h *host, text string) string {
			conn, _ := h.join(t, h.key, "x")
			conn.Write(smuggle(wire.AppendMessage(nil, wire.Register{Network: wire.NetworkTCP, Name: fill(text)}), text))
			conn.Write(wire.AppendMessage(nil, wire.GoAway{Code: wire.Shutdown}))
			return `"x" `
		},
		"denied service": func(t *testing.T, h *host, text string) string {
			conn, _ := h.join(t, h.key, "x")
			conn.Write(smuggle(wire.AppendMessage(nil, wire.Register{Network: wire.NetworkTCP, Port: 1, Name: fill(text)}), text))
			conn.Write(wire.AppendMessage(nil, wire.GoAway{Code: wire.Shutdown}))
			return `"x" `
		},
		"bind address": func(t *testing.T, h *host, text string) string {
			conn, _ := h.join(t, h.key, "x")
			conn.Write(smuggle(wire.AppendMessage(nil, wire.Register{Network: wire.NetworkTCP, Bind: fill(text), Name: "y"}), text))
			conn.Write(wire.AppendMessage(nil, wire.GoAway{Code: wire.Shutdown}))
			return `"x" `
		},
		"goodbye": func(t *testing.T, h *host, text string) string {
			conn, _ := h.join(t, h.key, "x")
			conn.Write(smuggle(wire.AppendMessage(nil, wire.GoAway{Code: wire.Shutdown, Text: fill(text)}), text))
			conn.(*net.TCPConn).CloseWrite()
			return "left: "
		},
		"hello": func(t *testing.T, h *host, text string) string {
			conn, err := h.knock(t, h.key, wire.KindControl, []byte(text))
			require.NoError(t, err)
			io.Copy(io.Discard, conn)
			return ""
		},
		"stranger's first bytes": func(t *testing.T, h *host, text string) string {
			conn, err := net.Dial("tcp", h.addr())
			require.NoError(t, err)
			defer conn.Close()
			io.WriteString(conn, text+strings.Repeat(text, 200))
			return "refused a connection"
		},
		"message": func(t *testing.T, h *host, text string) string {
			conn, _ := h.join(t, h.key, "x")
			io.WriteString(conn, text+strings.Repeat(text, 10))
			return "left: "
		},
	} {
		t.Run(place, func(t *testing.T) {
			for kind, text := range nasty {
				t.Run(kind, func(t *testing.T) {
					h := startServer(t, pool.TLSPlain)
					g := startClient(t, h, "localhost:1") // so that something is logged
					if until := play(t, h, text); until != "" {
						h.log.find(t, until)
					}
					g.Close()
					<-g.done
					h.Close()
					<-h.done
					h.log.clean(t)
				})
			}
		})
	}
}

func TestClientLogsNothingUnescaped(t *testing.T) {
	for place, says := range map[string]func(text string) []byte{
		"goodbye": func(text string) []byte {
			return smuggle(wire.AppendMessage(nil, wire.GoAway{Code: wire.Shutdown, Text: fill(text)}), text)
		},
		"denied service": func(text string) []byte {
			return smuggle(wire.AppendMessage(nil, wire.Registered{Code: wire.PortTaken, Text: fill(text)}), text)
		},
		"public address": func(text string) []byte {
			return smuggle(wire.AppendMessage(nil, wire.Registered{Addr: fill(text)}), text)
		},
		"public address with a port": func(text string) []byte {
			return smuggle(wire.AppendMessage(nil, wire.Registered{Addr: fill(text) + ":80"}), text)
		},
		"public port": func(text string) []byte {
			return smuggle(wire.AppendMessage(nil, wire.Registered{Addr: "127.0.0.1:" + fill(text)}), text)
		},
		"user address": func(text string) []byte {
			return smuggle(wire.AppendMessage(nil, wire.Open{Stream: 1, ID: [8]byte([]byte("NOTHERE!")), User: fill(text)}), text)
		},
		"message": func(text string) []byte { return []byte(text + strings.Repeat(text, 10)) },
	} {
		t.Run(place, func(t *testing.T) {
			for kind, text := range nasty {
				t.Run(kind, func(t *testing.T) {
					key := pool.NewKey()
					addr := fakeServer(t, key, func(control net.Conn) {
						control.Write(says(text))
						control.Write([]byte{12, 0, 0, 0}) // ends the session, if that did not
					})
					checkClientLog(t, addr, key, " lost: ")
				})
			}
		})
	}
}

// checkClientLog runs a client until it has said so, and looks at all it said.
func checkClientLog(t *testing.T, addr string, key pool.Key, until string) {
	t.Helper()
	g := runClient(t, ClientConfig{Server: addr, Key: key, TLS: pool.TLSPlain, PoolMin: 1, Services: []Service{{Name: "web", Target: "localhost:1"}}})
	eventually(t, func() bool { return g.log.count(until)+g.log.count("says goodbye: ") > 0 }, g.log.text)
	ctx, cancel := contextFor(t, 10*time.Millisecond)
	defer cancel()
	if err := g.Up(ctx); err != nil {
		printable(t, err.Error())
	}
	g.Close()
	<-g.done
	g.log.clean(t)
}

// TestClientLogsNoNastyRefusal: what comes in place of a welcome, and in place
// of an ID.
func TestClientLogsNoNastyRefusal(t *testing.T) {
	for kind, text := range nasty {
		deny := smuggle(wire.AppendMessage(nil, wire.Deny{Code: wire.TooMany, Text: fill(text)}), text)
		for place, first := range map[string][]byte{"denial": deny, "in place of a welcome": []byte(text + strings.Repeat(text, 10))} {
			t.Run(place+", "+kind, func(t *testing.T) {
				key := pool.NewKey()
				checkClientLog(t, rawServer(t, key, first, nil), key, "trying again")
			})
		}
		t.Run("in place of an ID, "+kind, func(t *testing.T) {
			key := pool.NewKey()
			welcome := wire.AppendMessage(nil, wire.Welcome{Secret: wire.Secret{1}, Heartbeat: time.Minute, PoolMax: 1, MaxServices: 1})
			id := []byte(fmt.Sprintf("%-8s", text))[:8]
			checkClientLog(t, rawServer(t, key, welcome, id), key, "dial failed")
		})
	}
}

// rawServer lets everybody in who has the key, says its words on each control
// and each pooled connection, and waits until the client hangs up.
func rawServer(t *testing.T, key pool.Key, control, pooled []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	door, err := pool.NewAcceptor(pool.AcceptConfig{TLS: pool.TLSPlain, Keys: func(hello pool.Hello) (pool.Key, bool) {
		if hello.Kind == wire.KindPool {
			secret := wire.Secret{1}
			return key.Session(secret[:]), true
		}
		return key, true
	}})
	require.NoError(t, err)
	ctx, cancel := contextFor(t, time.Minute)
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		door.Serve(ctx, l, func(_ context.Context, conn net.Conn, hello pool.Hello) {
			if hello.Kind == wire.KindPool {
				conn.Write(pooled)
			} else {
				conn.Write(control)
			}
			io.Copy(io.Discard, conn) // to the handshake's deadline at most
			conn.Close()
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String()
}
