package interop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const pairs = 500

// named is what travels from the server's program to the client's.
type named struct {
	id     string
	number int
}

// TestPairs: 500 connections in each mode and with either library at either end.
// What is sent on one arrives at its other end, both ways, and nowhere else.
func TestPairs(t *testing.T) {
	for _, e := range both {
		for _, mode := range []string{"0", "1", "2"} {
			t.Run(e.name+", mode "+mode, func(t *testing.T) {
				begun := time.Now()
				p := e.open(t, mode, pairs)
				ids := p.exchange(t)
				require.Len(t, ids, pairs)
				for _, id := range ids {
					assert.Regexp(t, "^[0-9a-f]{8}$", id)
				}
				if e.name == theirServer.name {
					require.Contains(t, ids, "00000000", "its first")
				}
				t.Logf("%d pairs in %v", len(ids), time.Since(begun).Round(time.Millisecond))
			})
		}
	}
}

// exchange takes all pairs, eight at a time, and returns their IDs.
func (p *pair) exchange(t *testing.T) (ids []string) {
	way := make(chan named)
	numbers := make(chan int)
	var servers, clients sync.WaitGroup
	var mu sync.Mutex
	for range 8 {
		servers.Go(func() { // ends with numbers
			for number := range numbers {
				id, c, err := p.server.IncomingGet(enough)
				if !assert.NoError(t, err) {
					continue
				}
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
				way <- named{id, number}
				talk(t, c, number, "to the client", "to the server")
			}
		})
		clients.Go(func() { // ends with way
			for it := range way {
				c, err := p.client.OutgoingGet(it.id, enough)
				if assert.NoError(t, err, it.id) {
					talk(t, c, it.number, "to the server", "to the client")
				}
			}
		})
	}
	for number := range pairs {
		numbers <- number
	}
	close(numbers)
	servers.Wait()
	close(way)
	clients.Wait()
	return ids
}

// talk sends what one end of that pair has to say, hears the other's, and closes.
func talk(t *testing.T, c net.Conn, number int, says, hears string) {
	defer c.Close()
	assert.NoError(t, c.SetDeadline(time.Now().Add(enough)))
	sent := make(chan error, 1)
	go func() { // ends by the deadline
		_, err := c.Write(words(number, says))
		sent <- err
	}()
	want := words(number, hears)
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	assert.NoError(t, err, "pair %d", number)
	assert.True(t, bytes.Equal(want, got), "pair %d heard %.60q", number, got)
	assert.NoError(t, <-sent)
}

// words are 4 to 5 KB that no other pair and no other direction has.
func words(number int, direction string) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "pair %03d %s; ", number, direction), 200)
}
