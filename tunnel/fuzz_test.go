package tunnel

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/tunnelpool/pool/internal/wire"
)

// FuzzFirstMessage is what a server says in answer to a join: a client gets a
// welcome or an error, and the error is fit for a log.
func FuzzFirstMessage(f *testing.F) {
	welcome := wire.AppendMessage(nil, wire.Welcome{Heartbeat: 1e9, PoolMax: 1, MaxServices: 1})
	f.Add(welcome)
	f.Add(append(welcome, "and more"...))
	f.Add(wire.AppendMessage(nil, wire.Deny{Code: wire.TooMany, Text: "try at noon"}))
	f.Add(smuggle(wire.AppendMessage(nil, wire.Deny{Code: wire.TooMany, Text: fill("\u202egnp")}), "\u202egnp"))
	f.Add(wire.AppendMessage(nil, wire.Ping{}))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, said []byte) {
		client, server := net.Pipe()
		defer client.Close()
		go func() { // ends with client
			server.Write(said)
			server.Close()
		}()
		w, _, err := readWelcome(context.Background(), client)
		if err != nil {
			printable(t, explain("example.com:10101", err))
			return
		}
		if again := wire.AppendMessage(nil, w); !bytes.HasPrefix(said, again) {
			t.Errorf("% x passed for a welcome", said)
		}
	})
}

// FuzzPublicAddr: an address that a server claims is shown to people, and
// passed to programs that connect with it.
func FuzzPublicAddr(f *testing.F) {
	for _, addr := range []string{"0.0.0.0:80", "[::]:80", "192.0.2.1:80", "127.0.0.1:\u202e80", "host:80", ":80", "", "[::1%eth0]:80", "1.2.3.4:99999", "1.2.3.4:http"} {
		f.Add(addr)
	}
	f.Fuzz(func(t *testing.T, bound string) {
		shown := publicAddr("example.com:10101", bound)
		printable(t, shown)
		if len(shown) > 4*len(bound)+len("example.com")+10 {
			t.Errorf("%q is shown as %q", bound, shown)
		}
	})
}
