package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/tunnelpool/pool"
)

// The pair, in the names of NodePass's pool: the server hands out one end and
// its ID, the client takes the other end by that.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := pool.NewServerPool(20, "", nil, listener, 30*time.Second)
	go server.ServerManager()
	defer server.Close()

	dial := func() (net.Conn, error) { return net.Dial("tcp", listener.Addr().String()) }
	client := pool.NewClientPool(5, 20, 500*time.Millisecond, 5*time.Second, 30*time.Second, "0", "", dial)
	go client.ClientManager()
	defer client.Close()

	// A user comes to the server: a connection is there already.
	id, userSide, err := server.ServerGet(10 * time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer userSide.Close()

	// The ID travels to the client by a way of the program's own.
	targetSide, err := client.ClientGet(id)
	if err != nil {
		log.Fatal(err)
	}
	defer targetSide.Close()

	fmt.Fprint(userSide, "hello through the pool")
	buf := make([]byte, 22)
	if _, err := io.ReadFull(targetSide, buf); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", buf)
	fmt.Println("the ID has", len(id), "bytes")
	// Output:
	// hello through the pool
	// the ID has 8 bytes
}

// A pair over TLS without certificates, where both sides prove that they hold
// the same key. A stranger gets no further than the proof.
func ExampleNewServer() {
	key := pool.NewKey() // its Text goes to the client's host, as a password would

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server, err := pool.NewServer(pool.ServerConfig{
		Listener: listener,
		TLS:      pool.TLSSelfSigned,
		Keys:     pool.KnownKeys(key),
	})
	if err != nil {
		log.Fatal(err)
	}
	var dialer net.Dialer
	client, err := pool.NewClient(pool.ClientConfig{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", listener.Addr().String())
		},
		Security: pool.Security{TLS: pool.TLSSelfSigned, Key: key},
		Limits:   pool.Limits{MinCap: 4, MaxCap: 16},
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go server.Run(ctx)
	go client.Run(ctx)
	defer server.Close()
	defer client.Close()

	near, err := server.Get(ctx)
	if err != nil {
		log.Fatal(err)
	}
	id, err := pool.ParseID(near.ID())
	if err != nil {
		log.Fatal(err)
	}
	far, err := client.Take(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("same connection:", near.ID() == far.ID())
	near.Close()
	far.Close()
	_, err = client.ClientGet(near.ID())
	fmt.Println("gone:", errors.Is(err, pool.ErrNotFound))
	// Output:
	// same connection: true
	// gone: true
}

// A connection that is put back serves again. Its handle is dead then: whoever
// still has it cannot harm the next holder. The connections of this pool come
// from the program, through Admit.
func ExamplePool_Put() {
	server, err := pool.NewServer(pool.ServerConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	peer, conn := net.Pipe()
	go server.Admit(context.Background(), conn)
	named := make([]byte, 8)
	if _, err := io.ReadFull(peer, named); err != nil {
		log.Fatal(err)
	}

	var stale net.Conn
	for range 3 {
		id, conn, err := server.ServerGet(10 * time.Second)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("the same connection:", id == string(named))
		server.Put(id, conn)
		stale = conn
	}
	_, err = stale.Write([]byte("too late"))
	fmt.Println("stale:", errors.Is(err, net.ErrClosed))
	fmt.Println("still ready:", server.Active())
	// Output:
	// the same connection: true
	// the same connection: true
	// the same connection: true
	// stale: true
	// still ready: 1
}

// Errors are told apart with errors.Is.
func ExamplePool_ServerGet() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := pool.NewServerPool(20, "", nil, listener, 0)
	_, _, err = server.ServerGet(10 * time.Millisecond)
	fmt.Println("timed out:", errors.Is(err, pool.ErrTimeout), errors.Is(err, context.DeadlineExceeded))
	server.Close()
	_, _, err = server.ServerGet(time.Hour)
	fmt.Println("closed:", errors.Is(err, pool.ErrClosed), errors.Is(err, net.ErrClosed))
	// Output:
	// timed out: true true
	// closed: true true
}

// A SlogLogger gets what happens with a name and attributes to decide by. Tell
// sends events of one's own the same way.
func ExampleTell() {
	withoutTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	logger := pool.SlogLogger(slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime})))
	pool.Tell(logger, slog.LevelWarn, "dial_failed", pool.Facts{"error", errors.New("no route"), "pause_seconds", 1500 * time.Millisecond},
		"dial failed: %v", errors.New("no route"))
	// Output:
	// {"level":"WARN","msg":"dial failed: no route","event":"dial_failed","error":"no route","pause_seconds":1.5}
}
