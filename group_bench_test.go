package pool

import (
	"context"
	"fmt"
	"net"
	"testing"
)

// BenchmarkGroup is a Get and a Put where a connection is idle, by the number of keys
// and with or without a bound on all of them. What many pools cost by themselves is in
// it: each looks after its connections once a second.
func BenchmarkGroup(b *testing.B) {
	for _, maxOpen := range []int{0, 100_000} {
		for _, keys := range []int{1, 100, 10_000} {
			b.Run(fmt.Sprintf("bound=%d/keys=%d", maxOpen, keys), func(b *testing.B) {
				g, err := NewGroup(GroupConfig{MaxOpen: maxOpen, MaxKeys: -1, New: func(string) (LocalConfig, error) {
					return LocalConfig{Dial: func(context.Context) (net.Conn, error) { return newIdleConn(), nil }}, nil
				}})
				if err != nil {
					b.Fatal(err)
				}
				defer g.Close()
				names := make([]string, keys)
				use := func(key string) {
					c, err := g.Get(context.Background(), key)
					if err != nil {
						b.Error(err)
						return
					}
					g.Put(c)
				}
				for i := range names {
					names[i] = fmt.Sprint("key ", i)
					use(names[i])
				}
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						use(names[i*7919%keys])
					}
				})
			})
		}
	}
}
