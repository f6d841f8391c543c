package pool_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"slices"
	"sync"

	"github.com/tunnelpool/pool"
)

// What happens to the connections of a pool, from the first to the last.
func ExampleConnEvent() {
	listener := counter()
	defer listener.Close()
	var mu sync.Mutex // events come from several goroutines
	var events []pool.ConnEvent
	p, err := pool.NewLocal(pool.LocalConfig{
		Address: listener.Addr().String(),
		Limits:  pool.Limits{MaxOpen: 1},
		OnConn: func(e pool.ConnEvent) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range []error{nil, errors.New("half an answer")} {
		_ = p.Do(context.Background(), func(net.Conn) error { return result })
	}
	p.Close()

	slices.SortFunc(events, func(a, b pool.ConnEvent) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, e := range events[:5] {
		fmt.Println(e.Kind, e.ID, e.Uses, e.Reason, e.Err)
	}
	// Output:
	// created 00000001 0  <nil>
	// acquired 00000001 1  <nil>
	// released 00000001 1  <nil>
	// acquired 00000001 2  <nil>
	// evicted 00000001 2 discarded half an answer
}
