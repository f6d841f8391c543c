package pool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/textproto"
	"strings"

	"github.com/tunnelpool/pool"
)

// counter is a server of a protocol of lines, as there are many: it greets who
// says HELLO, and tells on GET how often it was asked on this connection.
func counter() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer conn.Close()
				asked := 0
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					switch line := lines.Text(); line {
					case "HELLO":
						fmt.Fprintln(conn, "WELCOME")
					case "GET":
						asked++
						fmt.Fprintln(conn, asked)
					case "BYE":
						return
					default:
						fmt.Fprintln(conn, "ERR", line, "is unknown")
					}
				}
			}()
		}
	}()
	return listener
}

var errAnswer = errors.New("the server says no")

// ask sends a line and reads the answer.
func ask(conn net.Conn, line string) (string, error) {
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(answer, "ERR") {
		return "", pool.Keep(errAnswer) // an answer all the same: the connection is fine
	}
	return strings.TrimSpace(answer), nil
}

// A pool of connections to a server that knows nothing of pools: each is greeted
// once, looked after while it is idle, and used again and again.
func ExampleNewLocal() {
	listener := counter()
	defer listener.Close()
	p, err := pool.NewLocal(pool.LocalConfig{
		Address: listener.Addr().String(),
		Setup: func(_ context.Context, c *pool.Conn) error {
			_, err := ask(c, "HELLO")
			return err
		},
		Goodbye: func(_ context.Context, c *pool.Conn) error {
			_, err := fmt.Fprintln(c, "BYE")
			return err
		},
		Limits: pool.Limits{MaxOpen: 1},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	for range 3 {
		err := p.Do(context.Background(), func(c net.Conn) error {
			answer, err := ask(c, "GET")
			fmt.Println("asked on this connection:", answer)
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// asked on this connection: 1
	// asked on this connection: 2
	// asked on this connection: 3
}

// Do gives the connection back when all went well, or when the error is marked as
// none of the connection's. After any other error it is closed for good.
func ExamplePool_Do() {
	listener := counter()
	defer listener.Close()
	p, err := pool.NewLocal(pool.LocalConfig{Address: listener.Addr().String()})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	ctx := context.Background()

	err = p.Do(ctx, func(c net.Conn) error {
		_, err := ask(c, "NONSENSE")
		return err
	})
	fmt.Println("refused:", errors.Is(err, errAnswer), "- discarded:", p.Stats().Closed[pool.ClosedDiscarded])

	err = p.Do(ctx, func(c net.Conn) error { return errors.New("the answer was cut") })
	fmt.Println(err, "- discarded:", p.Stats().Closed[pool.ClosedDiscarded])
	// Output:
	// refused: true - discarded: 0
	// the answer was cut - discarded: 1
}

// What Setup builds on a connection stays with it, for every later holder: here a
// reader and writer of lines.
func ExampleValueOf() {
	listener := counter()
	defer listener.Close()
	p, err := pool.NewLocal(pool.LocalConfig{
		Address: listener.Addr().String(),
		Limits:  pool.Limits{MaxOpen: 1},
		Setup: func(_ context.Context, c *pool.Conn) error {
			c.SetValue(textproto.NewConn(c))
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	for range 2 {
		err := p.Do(context.Background(), func(c net.Conn) error {
			lines, _ := pool.ValueOf[*textproto.Conn](c)
			if err := lines.PrintfLine("GET"); err != nil {
				return err
			}
			answer, err := lines.ReadLine()
			fmt.Println("asked on this connection:", answer)
			return err
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// asked on this connection: 1
	// asked on this connection: 2
}

// For how long and how often connections are used again. What serves no more is
// closed in order, and another one takes its place.
func ExampleLimits() {
	listener := counter()
	defer listener.Close()
	p, err := pool.NewLocal(pool.LocalConfig{
		Address: listener.Addr().String(),
		Limits: pool.Limits{
			MaxOpen:  1,
			MaxUses:  2,
			WhenFull: pool.FailWhenFull,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	ctx := context.Background()
	if err := p.WaitReady(ctx, 1); err != nil {
		log.Fatal(err)
	}

	first, err := p.Get(ctx)
	if err != nil {
		log.Fatal(err)
	}
	_, err = p.Get(ctx)
	fmt.Println("full:", errors.Is(err, pool.ErrFull))
	p.Put(first.ID(), first)

	second, err := p.Get(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same:", second.ID() == first.ID())
	p.Put(second.ID(), second)

	if err := p.WaitReady(ctx, 1); err != nil {
		log.Fatal(err)
	}
	third, err := p.Get(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("another one:", third.ID() != first.ID())
	third.Close()
	// Output:
	// full: true
	// the same: true
	// another one: true
}

// The three modes of TLS, as they are written on a command line. A mode that
// nobody knows is an error, and never means plain TCP.
func ExampleParseTLSMode() {
	for _, text := range []string{"0", "1", "2", "3"} {
		mode, err := pool.ParseTLSMode(text)
		if err != nil {
			fmt.Println("refused:", errors.Is(err, pool.ErrTLSMode))
			continue
		}
		fmt.Println(mode == pool.TLSPlain, mode == pool.TLSSelfSigned, mode == pool.TLSVerified)
	}
	// Output:
	// true false false
	// false true false
	// false false true
	// refused: true
}

// A key is a secret that both ends have. Its text goes to the other host as a
// password would; everything else shows only its name.
func ExampleKey() {
	key := pool.NewKey()
	same, err := pool.ParseKey(key.Text())
	fmt.Println("the same:", err == nil && same.ID() == key.ID())

	known, err := pool.ParseKey("AAECAwQFBgcICQoLDA0ODw")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(known)
	_, err = pool.ParseKey("too short")
	fmt.Println("refused:", errors.Is(err, pool.ErrBadKey))
	// Output:
	// the same: true
	// key:ab82b93efb0bf278
	// refused: true
}
