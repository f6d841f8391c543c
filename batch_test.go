package pool

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tlsPairOut is a pair in TLS with both ends of a connection handed out.
func tlsPairOut(t *testing.T) (p *pair, server, client *Conn) {
	p = openPair(t, TLSSelfSigned, ServerConfig{}, ClientConfig{Limits: Limits{MinCap: 1, MaxCap: 1}})
	p.full(t, 1)
	server, client = p.take(t)
	return p, server, client
}

// numbers are bytes of which no piece looks like another.
func numbers(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(uint32(i) * 2654435761 >> 24)
	}
	return b
}

func TestBulkOverTLS(t *testing.T) {
	_, server, client := tlsPairOut(t)
	for _, size := range []int{1, recordSize, recordSize + 1, 3*batchSize + 5, 8 << 20} {
		said := numbers(size)
		written := make(chan error, 1)
		go func() { // ends when client has read it all
			n, err := server.Write(said)
			if err == nil && n != size {
				err = io.ErrShortWrite
			}
			written <- err
		}()
		heard := make([]byte, size)
		_, err := io.ReadFull(client, heard)
		require.NoError(t, err)
		require.NoError(t, <-written)
		require.True(t, bytes.Equal(said, heard), "%d bytes", size)
		require.Zero(t, batchesOut.Load(), "a quiet connection holds a buffer")
	}
}

// TestReadTakesSeveralRecords: what is there comes in one read, and nothing is
// waited for once there is something.
func TestReadTakesSeveralRecords(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a socket cannot be read without waiting there")
	}
	_, server, client := tlsPairOut(t)
	const size = 8 * recordSize
	_, err := server.Write(make([]byte, 2*batchSize)) // TLS begins with small records
	require.NoError(t, err)
	_, err = io.ReadFull(client, make([]byte, 2*batchSize))
	require.NoError(t, err)
	_, err = server.Write(make([]byte, size))
	require.NoError(t, err)
	p := make([]byte, 2*size)
	total, reads := 0, 0
	for total < size {
		n, err := client.Read(p)
		require.NoError(t, err)
		total += n
		reads++
	}
	require.Equal(t, size, total)
	require.Less(t, reads, size/recordSize, "a record a read")
}

// TestDeadlineInBulk: a read that runs into its deadline can be repeated, and
// one that brought bytes is no failure.
func TestDeadlineInBulk(t *testing.T) {
	_, server, client := tlsPairOut(t)
	p := make([]byte, batchSize)
	require.NoError(t, client.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err := client.Read(p)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, client.SetReadDeadline(time.Time{}))
	requireEcho(t, server, client)
}

// TestWriteTimeoutInBulk: behind a write that a deadline cut, nothing more goes
// out, since the other side could not read it.
func TestWriteTimeoutInBulk(t *testing.T) {
	_, server, client := tlsPairOut(t)
	require.NoError(t, server.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := server.Write(make([]byte, 64<<20)) // nobody reads
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, server.SetWriteDeadline(time.Time{}))
	go io.Copy(io.Discard, client) // ends with the connection
	_, err = server.Write([]byte("x"))
	require.Error(t, err)
	require.Zero(t, batchesOut.Load())
}

// TestCloseDuringBulkWrite does not wait for a peer that does not read.
func TestCloseDuringBulkWrite(t *testing.T) {
	_, server, _ := tlsPairOut(t)
	failed := make(chan error, 1)
	go func() { // ends with Close
		_, err := server.Write(make([]byte, 64<<20))
		failed <- err
	}()
	require.Eventually(t, server.entry.bulk.flushing.Load, 10*time.Second, time.Millisecond)
	begun := time.Now()
	server.Close()
	require.Error(t, <-failed)
	require.Less(t, time.Since(begun), 2*time.Second)
}

// TestPutWithReadAhead: bytes that were read of the socket and not asked for are
// unread bytes, too.
func TestPutWithReadAhead(t *testing.T) {
	p, server, client := tlsPairOut(t)
	_, err := client.Write(make([]byte, 4*batchSize))
	require.NoError(t, err)
	first := make([]byte, 2*recordSize)
	for range 8 {
		_, err = server.Read(first)
		require.NoError(t, err)
	}
	p.server.Put(server.ID(), server)
	require.Zero(t, p.server.Active())
	requireEnded(t, client)
	require.Zero(t, batchesOut.Load(), "a closed connection holds a buffer")
}

// TestBatchesAreBounded: beyond the bound bytes go record by record.
func TestBatchesAreBounded(t *testing.T) {
	_, server, client := tlsPairOut(t)
	batchesOut.Add(maxBatches)
	defer batchesOut.Add(-maxBatches)
	require.Nil(t, borrowBatch())
	go server.Write(numbers(1 << 20)) // ends when client has read it all
	heard := make([]byte, 1<<20)
	_, err := io.ReadFull(client, heard)
	require.NoError(t, err)
	require.True(t, bytes.Equal(numbers(1<<20), heard))
}
