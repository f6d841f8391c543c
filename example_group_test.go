package pool_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/tunnelpool/pool"
)

// A pool for each of many servers, made when somebody asks and gone when nobody
// does, with a bound for each and one for all together. Keys are names: an address
// that changes counts from the next pool on.
func ExampleGroup() {
	berlin, lima := counter(), counter()
	defer berlin.Close()
	defer lima.Close()
	inventory := map[string]string{"berlin": berlin.Addr().String(), "lima": lima.Addr().String()}
	g, err := pool.NewGroup(pool.GroupConfig{
		New: func(key string) (pool.LocalConfig, error) {
			address, ok := inventory[key]
			if !ok {
				return pool.LocalConfig{}, fmt.Errorf("there is no server of this name")
			}
			return pool.LocalConfig{
				Address: address,
				Limits:  pool.Limits{MaxOpen: 1}, // of this key
			}, nil
		},
		MaxOpen:    100, // of all keys
		KeepUnused: 10 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}

	for _, key := range []string{"lima", "berlin", "lima", "atlantis"} {
		err := g.Do(context.Background(), key, func(c net.Conn) error {
			answer, err := ask(c, "GET")
			fmt.Printf("%s: asked on this connection: %s\n", key, answer)
			return err
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(g.Keys(), g.Stats().Sum.HandedOut, "uses")

	// The end: those in use have ten seconds.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Drain(ctx); err != nil {
		log.Print(err)
	}
	// Output:
	// lima: asked on this connection: 1
	// berlin: asked on this connection: 1
	// lima: asked on this connection: 2
	// key "atlantis": there is no server of this name
	// [berlin lima] 3 uses
}

// Of several servers that serve equally well the least busy one is asked, and the
// next where that cannot be reached.
func ExampleGroup_GetAny() {
	listener := counter()
	defer listener.Close()
	addresses := map[string]string{"first": "127.0.0.1:1", "second": listener.Addr().String()}
	g, err := pool.NewGroup(pool.GroupConfig{New: func(key string) (pool.LocalConfig, error) {
		return pool.LocalConfig{Address: addresses[key]}, nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close()

	key, c, err := g.GetAny(context.Background(), pool.LeastBusy, "first", "second")
	if err != nil {
		log.Fatal(err)
	}
	defer g.Put(c)
	answer, err := ask(c, "GET")
	fmt.Println(key, answer, err)
	// Output:
	// second 1 <nil>
}
