package traffic

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// target serves until the test ends.
func target(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- Serve(l) }() // ends with the listener
	t.Cleanup(func() {
		l.Close()
		require.ErrorIs(t, <-served, net.ErrClosed)
	})
	return l.Addr().String()
}

// nobody is an address that refuses.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// reports runs a load whose input has ended.
func reports(t *testing.T, l Load) Outcome {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, Run(l, strings.NewReader(""), &out))
	lines := json.NewDecoder(&out)
	var warm, end Report
	require.NoError(t, lines.Decode(&warm))
	require.True(t, warm.Warm, "the beginning comes first")
	require.NoError(t, lines.Decode(&end))
	require.NotNil(t, end.Outcome)
	require.ErrorIs(t, lines.Decode(new(Report)), io.EOF)
	return *end.Outcome
}

const little = 20 * time.Millisecond

func TestLoads(t *testing.T) {
	for _, c := range []struct {
		load  Load
		check func(t *testing.T, o Outcome)
	}{
		{Load{Kind: Operations, Users: 20, Workers: 3}, func(t *testing.T, o Outcome) {
			require.Equal(t, 20, o.Served)
			require.Len(t, o.Latencies, 20)
		}},
		{Load{Kind: Burst, Users: 20}, func(t *testing.T, o Outcome) {
			require.Equal(t, 20, o.Served)
			for _, l := range o.Latencies {
				require.LessOrEqual(t, l, o.Elapsed)
			}
		}},
		{Load{Kind: Rate, Workers: 3, Duration: 10 * little}, func(t *testing.T, o Outcome) {
			require.Positive(t, o.Served)
			require.Zero(t, o.Bytes)
			require.GreaterOrEqual(t, o.Elapsed, 10*little)
		}},
		{Load{Kind: Download, Workers: 3, Duration: 10 * little}, func(t *testing.T, o Outcome) {
			require.Positive(t, o.Bytes)
		}},
		{Load{Kind: Upload, Workers: 3, Duration: 10 * little}, func(t *testing.T, o Outcome) {
			require.Positive(t, o.Bytes)
		}},
		{Load{Kind: Echo, Duration: little}, func(t *testing.T, o Outcome) {
			require.Positive(t, o.Served)
			require.Len(t, o.Latencies, o.Served)
			require.GreaterOrEqual(t, o.Elapsed, little)
		}},
		{Load{Kind: Hold, Users: 20, Workers: 3}, func(t *testing.T, o Outcome) {
			require.Equal(t, 20, o.Served)
		}},
	} {
		t.Run(string(c.load.Kind), func(t *testing.T) {
			c.load.Address = target(t)
			o := reports(t, c.load)
			require.Zero(t, o.Failed, o.Failure)
			c.check(t, o)
		})
	}
}

// TestUsersThatAreRefusedAreCounted, whatever they wanted.
func TestUsersThatAreRefusedAreCounted(t *testing.T) {
	for _, l := range []Load{
		{Kind: Operations, Users: 5, Workers: 2},
		{Kind: Burst, Users: 5},
		{Kind: Rate, Workers: 2, Duration: little},
		{Kind: Download, Workers: 5, Duration: little},
		{Kind: Upload, Workers: 5, Duration: little},
		{Kind: Echo, Duration: little},
		{Kind: Hold, Users: 5, Workers: 2},
	} {
		t.Run(string(l.Kind), func(t *testing.T) {
			l.Address = nobody(t)
			o := reports(t, l)
			require.Positive(t, o.Failed)
			require.Contains(t, o.Failure, "refused")
			require.Zero(t, o.Served)
			require.Zero(t, o.Bytes)
		})
	}
}

func TestHoldLetsGoWhenItsInputEnds(t *testing.T) {
	in, letGo := io.Pipe()
	out, lines := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Run(Load{Kind: Hold, Users: 3, Workers: 1, Address: target(t)}, in, lines) }() // ends with letGo
	var r Report
	reader := json.NewDecoder(out)
	require.NoError(t, reader.Decode(&r))
	require.NoError(t, reader.Decode(&r))
	require.Equal(t, 3, r.Outcome.Served)
	select {
	case err := <-ended:
		require.Fail(t, "it did not hold", "%v", err)
	case <-time.After(little): // only a failure would be quicker
	}
	letGo.Close()
	require.NoError(t, <-ended)
}

func TestUnknownLoad(t *testing.T) {
	require.ErrorContains(t, Run(Load{Kind: "dance"}, strings.NewReader(""), io.Discard), `"dance"`)
}
