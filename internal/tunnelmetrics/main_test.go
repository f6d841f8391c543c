package tunnelmetrics

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/tunnel"
)

// clientProcess in the environment, a server's address, makes the test's program a
// client of it and the client's target, until its standard input ends: the
// descriptors of 5,000 users are too many for one process.
const clientProcess = "TUNNELMETRICS_CLIENT"

func TestMain(m *testing.M) {
	if server := os.Getenv(clientProcess); server != "" {
		beClient(server)
		return
	}
	goleak.VerifyTestMain(m)
}

func beClient(server string) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	key, err := pool.ParseKey(os.Getenv("TUNNEL_KEY"))
	must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go echo(l) // ends with the process
	client, err := tunnel.NewClient(tunnel.ClientConfig{
		Server: server, Key: key, Name: "crowded", MaxStreams: 10000,
		Services: []tunnel.Service{{Name: "busy", Target: l.Addr().String()}},
	})
	must(err)
	go client.Run(context.Background()) // likewise
	must(client.Up(context.Background()))
	fmt.Println(client.Services()[0].Addr)
	io.Copy(io.Discard, os.Stdin)
}

// echo answers everybody with what they say, until l is closed.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { // ends with c
			io.Copy(struct{ io.Writer }{c}, c) // and not by splice, which takes two more descriptors
			c.Close()
		}()
	}
}
