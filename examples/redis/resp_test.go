package main

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestReadReply(t *testing.T) {
	for text, want := range map[string]any{
		"+OK\r\n": "OK", "+\r\n": "", "-ERR x\r\n": Error("ERR x"), ":-7\r\n": int64(-7), "$-1\r\n": nil, "*-1\r\n": nil,
		"$0\r\n\r\n": []byte{}, "$4\r\na\r\nb\r\n": []byte("a\r\nb"), "*0\r\n": []any{},
		"*2\r\n:1\r\n*1\r\n-E\r\n": []any{int64(1), []any{Error("E")}},
	} {
		got, err := readReply(iotest.OneByteReader(strings.NewReader(text)))
		require.NoError(t, err, "%q", text)
		require.Equal(t, want, got, "%q", text)
	}
	for text, want := range map[string]string{
		"":                                 "the server closed the connection",
		"+OK":                              "the server closed the connection",
		"$3\r\nab":                         "the server closed the connection",
		"*2\r\n:1\r\n":                     "the server closed the connection",
		"+OK\n":                            `a line "+OK\n"`,
		"\r\n":                             `a line "\r\n"`,
		"HTTP/1.1 400\r\n":                 `a line "HTTP/1.1 400"`,
		":one\r\n":                         `a line ":one"`,
		":99999999999999999999\r\n":        "a line",
		"$-2\r\n":                          "a line",
		"$3\r\nabcde":                      "another length",
		"$99999999999\r\n":                 "more than 67108864 bytes",
		"*99999999\r\n":                    "more than 1048576 values",
		"+OK\r\n+OK\r\n":                   "bytes follow it",
		"\x1b[2J\r\n":                      `\x1b[2J`,
		"+" + strings.Repeat("x", maxLine): "a line of more than 65536 bytes",
		strings.Repeat("*1\r\n", maxDepth+1) + ":1\r\n": "more than 32 arrays",
	} {
		_, err := readReply(strings.NewReader(text))
		require.ErrorContains(t, err, want, "%.50q", text)
		require.NotContains(t, err.Error(), "\x1b")
		require.Less(t, len(err.Error()), 1000)
	}
	_, err := readReply(iotest.ErrReader(io.ErrClosedPipe))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

// TestAnnouncedLength: what a reply announces costs nothing until it comes.
func TestAnnouncedLength(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readReply(strings.NewReader("*1000000\r\n$60000000\r\nx"))
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(256<<10))
}

func TestAppendCommand(t *testing.T) {
	require.Equal(t, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\nä\r\n", string(appendCommand(nil, "SET", "a", "\r\nä")))
}

// FuzzReadReply: whatever comes is read within bounds or refused, and what is
// read says the same when it is sent again.
func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "-ERR x\r\n", ":1\r\n", "$5\r\nhello\r\n", "$-1\r\n", "*2\r\n:1\r\n*1\r\n$0\r\n\r\n", "*-1\r\n", "$9\r\n", "*9\r\n*9\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		reply, err := readReply(bytes.NewReader(text))
		if err != nil {
			require.Nil(t, reply)
			require.True(t, errors.Is(err, errProtocol) || errors.Is(err, io.ErrUnexpectedEOF), err)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		again, err := readReply(iotest.OneByteReader(bytes.NewReader(text)))
		require.NoError(t, err)
		require.Equal(t, reply, again)
		show(io.Discard, reply, "")
	})
}
