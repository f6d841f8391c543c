package demo

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pool "github.com/tunnelpool/pool"
)

// silent is no logger at all.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

var _ pool.Logger = silent{}

// took reads a first-byte time from the demo's output.
func took(t *testing.T, out, which string) time.Duration {
	t.Helper()
	found := regexp.MustCompile(`first byte, ` + which + ` +([0-9.]+) ms`).FindStringSubmatch(out)
	require.NotNil(t, found, out)
	d, err := time.ParseDuration(found[1] + "ms")
	require.NoError(t, err)
	return d
}

func TestOnceProves(t *testing.T) {
	var out strings.Builder
	require.NoError(t, Run(t.Context(), &out, Options{Once: true, Logger: silent{}}))
	require.Contains(t, out.String(), "The page came through the tunnel.")
	require.Regexp(t, `your browser  ->  http://127\.0\.0\.1:\d+  =tunnel=>  http://127\.0\.0\.1:\d+`, out.String())
	require.Positive(t, took(t, out.String(), "warm"))
	require.Positive(t, took(t, out.String(), "cold"))
	require.NotContains(t, out.String(), "SIMULATED")
	require.NotContains(t, out.String(), "Ctrl-C")
}

func TestSimulatedRoundTrip(t *testing.T) {
	const rtt = 40 * time.Millisecond
	var out strings.Builder
	require.NoError(t, Run(t.Context(), &out, Options{RTT: rtt, Once: true, Logger: silent{}}))
	require.Contains(t, out.String(), "SIMULATED round trip of 40ms")
	warm, cold := took(t, out.String(), "warm"), took(t, out.String(), "cold")
	require.GreaterOrEqual(t, warm, rtt)
	require.Greater(t, cold, warm)
	require.GreaterOrEqual(t, cold, 2*rtt, "a dial and what follows")
}

// stopper ends the demo when it has written the last line.
type stopper struct {
	strings.Builder
	stop func(out string)
}

func (s *stopper) Write(p []byte) (int, error) {
	n, err := s.Builder.Write(p)
	if strings.Contains(string(p), "Ctrl-C") {
		s.stop(s.String())
	}
	return n, err
}

func TestStaysUntilInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &stopper{stop: func(out string) {
		defer cancel()
		url := regexp.MustCompile(`Open (http://\S+)\. `).FindStringSubmatch(out)
		require.NotNil(t, url, out)
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := c.Get(url[1])
		require.NoError(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.Equal(t, page, string(body))
	}}
	require.NoError(t, Run(ctx, out, Options{Logger: silent{}}))
}

func TestInterruptedBeforeTheProof(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	require.NoError(t, Run(ctx, &out, Options{Logger: silent{}}), "whoever ends it need not wait for the proof")
	require.NotContains(t, out.String(), "The page came")
	require.Error(t, Run(ctx, &out, Options{Once: true, Logger: silent{}}), "no proof, no success")
	require.NotContains(t, out.String(), "The page came")
}

func TestPageHoldsTheMark(t *testing.T) { require.Contains(t, page, proofMark) }

// A page that does not come, or is another's, is no proof.
func TestFetchFails(t *testing.T) {
	for what, answer := range map[string]string{
		"an end at once":   "",
		"another's answer": "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nnot ours",
	} {
		t.Run(what, func(t *testing.T) {
			address := serveOnce(t, answer)
			_, err := fetch(t.Context(), address)
			require.ErrorContains(t, err, "through the tunnel")
		})
	}
}
