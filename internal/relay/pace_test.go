package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/handoff"
	"github.com/tunnelpool/pool/internal/shape"
	"github.com/tunnelpool/pool/internal/wire"
)

// paced is one stream with a limit on either side, nil for none.
type paced struct {
	user, target           *net.TCPConn
	served, attended       chan Result
	cutServer, cutAttendee context.CancelFunc
}

func pace(t *testing.T, client, server net.Conn, onServer, onClient *shape.Limit) *paced {
	t.Helper()
	p := &paced{served: make(chan Result, 1), attended: make(chan Result, 1)}
	var user, target *net.TCPConn
	p.user, user = tcpPair(t)
	target, p.target = tcpPair(t)
	limit := time.Now().Add(patience)
	p.user.SetDeadline(limit)
	p.target.SetDeadline(limit)
	var sctx, cctx context.Context
	sctx, p.cutServer = context.WithCancel(context.Background())
	cctx, p.cutAttendee = context.WithCancel(context.Background())
	t.Cleanup(p.cutServer)
	t.Cleanup(p.cutAttendee)
	go func() { // ends with the stream
		p.served <- serve(sctx, user, func(context.Context) (*Offering, error) {
			return &Offering{
				Conn: server, Number: 1, AckWait: patience, Limit: onServer,
				Ask: func(context.Context) (handoff.Answer, bool) { return 0, false },
				End: func(Verdict) {},
			}, nil
		})
	}()
	go func() { // likewise
		p.attended <- attend(cctx, client, Task{
			Number: 1, StartWait: patience, Commit: agree, Limit: onClient,
			Dial:    func(context.Context) (net.Conn, wire.ResetReason) { return target, 0 },
			Reserve: func() bool { return true },
		})
	}()
	return p
}

// TestLimit: on either side it holds both directions, and nothing of a stream
// that ends in order is lost.
func TestLimit(t *testing.T) {
	const size, rate = 300 << 10, 1 << 20 // about 0.3 s each way
	inEachMode(t, func(t *testing.T, lane func() (client, server net.Conn)) {
		for _, limits := range [][2]*shape.Limit{{shape.New(rate), nil}, {nil, shape.New(rate)}, {shape.New(rate), shape.New(rate)}} {
			client, server := lane()
			p := pace(t, client, server, limits[0], limits[1])
			for _, way := range [][2]*net.TCPConn{{p.user, p.target}, {p.target, p.user}} {
				begun := time.Now()
				go func() { // ends within patience
					way[0].Write(pattern(1, size))
					way[0].CloseWrite()
				}()
				got, err := io.ReadAll(way[1])
				require.NoError(t, err)
				require.True(t, bytes.Equal(pattern(1, size), got))
				require.Greater(t, time.Since(begun), time.Second*(size-rate/20)/rate*9/10)
			}
			served, attended := await(t, p.served), await(t, p.attended)
			require.True(t, served.Keep, "%+v", served)
			require.True(t, attended.Keep, "%+v", attended)
		}
	})
}

// TestLimitedStreamIsCut: whoever waits for what is due does so no longer when
// the stream is cut, on the side that has the limit and on the other.
func TestLimitedStreamIsCut(t *testing.T) {
	for name, cut := range map[string]func(*paced){
		"server":     func(p *paced) { p.cutServer() },
		"client":     func(p *paced) { p.cutAttendee() },
		"connection": nil,
	} {
		t.Run(name, func(t *testing.T) {
			client, server := tcpPair(t)
			p := pace(t, client, server, shape.New(1), shape.New(1)) // the first bytes, and then nothing for hours
			for _, way := range [][2]*net.TCPConn{{p.user, p.target}, {p.target, p.user}} {
				_, err := way[0].Write(make([]byte, 10<<10))
				require.NoError(t, err)
				_, err = io.ReadFull(way[1], make([]byte, 1))
				require.NoError(t, err)
			}
			begun := time.Now()
			if cut == nil {
				reset(t, client)
			} else {
				cut(p)
			}
			seesReset(t, p.user)
			seesReset(t, p.target)
			await(t, p.served)
			await(t, p.attended)
			require.Less(t, time.Since(begun), lookEvery+time.Second)
		})
	}
}

// TestLimitedUserLeaves: its reset passes on although its bytes wait for hours.
func TestLimitedUserLeaves(t *testing.T) {
	client, server := tcpPair(t)
	p := pace(t, client, server, shape.New(1), nil)
	_, err := p.user.Write(make([]byte, 10<<10))
	require.NoError(t, err)
	_, err = io.ReadFull(p.target, make([]byte, 1))
	require.NoError(t, err)
	reset(t, p.user)
	seesReset(t, p.target)
	require.False(t, errors.Is(await(t, p.served).Err, ErrNoAck))
}
