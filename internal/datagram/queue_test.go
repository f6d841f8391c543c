package datagram

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/wire"
)

// numbered is a datagram that tells its place and can be checked.
func numbered(n uint32, size int) []byte {
	b := bytes.Repeat([]byte{byte(n)}, max(size, 4))
	binary.BigEndian.PutUint32(b, n)
	return b
}

// split finds the datagrams of a stream.
func split(t testing.TB, stream []byte) (all [][]byte) {
	t.Helper()
	var d decoder
	require.NoError(t, d.feed(stream, func(b []byte) { all = append(all, bytes.Clone(b)) }))
	require.Empty(t, d.part, "the stream ends with a datagram")
	return all
}

func drain(q *queue) (stream []byte) {
	b := make([]byte, 4096)
	for q.len() > 0 {
		stream = append(stream, b[:q.take(b)]...)
	}
	return stream
}

func TestQueueDropsOldest(t *testing.T) {
	var q queue
	const size, sent = 1400, 2000 // 2.7 MiB
	dropped := 0
	for i := range uint32(sent) {
		dropped += q.add(numbered(i, size))
	}
	require.LessOrEqual(t, q.len(), 1<<20)
	require.Greater(t, q.len(), 1<<20-2*size, "it holds as much as it may")
	got := split(t, drain(&q))
	require.Equal(t, sent, len(got)+dropped)
	for i, b := range got {
		require.Equal(t, numbered(uint32(dropped+i), size), b)
	}
	require.Nil(t, q.buf, "a large buffer is given up")
	require.Zero(t, spare.Load())
}

// TestQueueKeepsWhatBegan: the rest of a datagram that was taken in part is not
// dropped, and what is dropped is behind it.
func TestQueueKeepsWhatBegan(t *testing.T) {
	var q queue
	require.Zero(t, q.add(numbered(0, wire.MaxDatagram)))
	b := make([]byte, 1000)
	stream := bytes.Clone(b[:q.take(b)])
	dropped := 0
	const sent = 100
	for i := range uint32(sent) {
		dropped += q.add(numbered(1+i, 60000))
	}
	require.Greater(t, dropped, 0)
	got := split(t, append(stream, drain(&q)...))
	require.Equal(t, numbered(0, wire.MaxDatagram), got[0])
	require.Equal(t, sent+1, len(got)+dropped)
	for i, b := range got[1:] {
		require.Equal(t, numbered(uint32(1+dropped+i), 60000), b)
	}
}

// TestQueueAlone: what other flows have waiting leaves each room for a datagram of
// any size.
func TestQueueAlone(t *testing.T) {
	var others []*queue
	for spare.Load()+mostBuffer <= maxSpare {
		q := new(queue)
		for range 20 {
			q.add(make([]byte, 60000))
		}
		others = append(others, q)
	}
	for range 2 * maxSpare / mostBuffer { // smaller steps, until there is no more
		q := new(queue)
		for range 20 {
			q.add(make([]byte, 60000))
		}
		others = append(others, q)
	}
	require.LessOrEqual(t, spare.Load(), int64(maxSpare))
	var q queue
	require.Zero(t, q.add(make([]byte, wire.MaxDatagram)))
	require.Equal(t, 1, q.add(numbered(1, wire.MaxDatagram)))
	require.Equal(t, [][]byte{numbered(1, wire.MaxDatagram)}, split(t, drain(&q)))
	for _, o := range others {
		require.LessOrEqual(t, o.len(), 1<<20)
		o.release()
	}
	q.release()
	require.Zero(t, spare.Load())
}

// TestQueueAgainstModel: whatever the order of adding and taking, what comes out is
// what went in, in order, less what was said to be dropped.
func TestQueueAgainstModel(t *testing.T) {
	sizes := []int{4, 40, 1400, 9000, 65507}
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 0))
		var q queue
		var stream []byte
		sent, dropped := 0, 0
		for range 1000 {
			if r.IntN(3) > 0 {
				dropped += q.add(numbered(uint32(sent), sizes[r.IntN(len(sizes))]))
				sent++
			} else if q.len() > 0 {
				b := make([]byte, 1+r.IntN(40000))
				stream = append(stream, b[:q.take(b)]...)
			}
		}
		got := split(t, append(stream, drain(&q)...))
		require.Equal(t, sent, len(got)+dropped)
		last := -1
		for _, b := range got {
			n := int(binary.BigEndian.Uint32(b))
			require.Greater(t, n, last)
			require.Equal(t, numbered(uint32(n), len(b)), b)
			last = n
		}
		q.release()
	}
	require.Zero(t, spare.Load())
}

func TestQueueAllocatesNothing(t *testing.T) {
	var q queue
	datagram, b := make([]byte, 1400), make([]byte, 4096)
	allocs := testing.AllocsPerRun(1000, func() {
		q.add(datagram)
		q.take(b)
	})
	require.Zero(t, allocs)
}

// FuzzDecoder: however the bytes of a peer are cut, they are the same datagrams,
// or the same breach of the rules, and what is kept of them is bounded.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{}, uint8(1))
	f.Add([]byte{0, 4, 'p', 'i', 'n', 'g', 0, 0, 0, 4, 'p', 'o', 'n', 'g'}, uint8(3))
	f.Add([]byte{0, 1, 2, 0xff, 0xe4, 5}, uint8(1))
	f.Add([]byte{0xff, 0xe3, 1}, uint8(2))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		whole, wholeErr := decode(t, stream, len(stream))
		pieces, piecesErr := decode(t, stream, int(cut))
		require.Equal(t, whole, pieces)
		require.Equal(t, wholeErr == nil, piecesErr == nil)
		var again []byte
		for _, d := range whole {
			again = wire.AppendDatagram(again, d)
		}
		require.True(t, bytes.HasPrefix(stream, again))
		if wholeErr != nil {
			require.ErrorIs(t, wholeErr, wire.ErrMalformed)
		}
	})
}

func decode(t *testing.T, stream []byte, cut int) (all [][]byte, err error) {
	var d decoder
	for len(stream) > 0 && err == nil {
		n := min(max(cut, 1), len(stream))
		err = d.feed(stream[:n], func(b []byte) { all = append(all, bytes.Clone(b)) })
		stream = stream[n:]
		require.LessOrEqual(t, cap(d.part), 2*(wire.DatagramHeaderSize+wire.MaxDatagram))
	}
	return all, err
}
