package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// What a reply may have at most.
const (
	maxReply = 64 << 20 // bytes, of all its strings together
	maxItems = 1 << 20  // strings, numbers and arrays in it
	maxDepth = 32       // arrays in arrays
	maxLine  = 64 << 10 // bytes of a simple string or an error
)

// Error is an error reply: the server's own word, after which the connection
// is as good as before.
type Error string

func (e Error) Error() string { return "the server says " + printable(string(e)) }

// errProtocol is a reply that is none, or too large. Nobody knows where the
// next one begins.
var errProtocol = errors.New("broken reply")

// appendCommand appends a command in RESP: an array of bulk strings.
func appendCommand(b []byte, args ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b
}

// reader reads one reply of the protocol's second version (RESP2).
type reader struct {
	*bufio.Reader
	bytes, items int // still allowed
}

// readReply reads one reply: a string, []byte, int64, []any, an Error, or nil.
// Bytes that follow it are nobody's, and an error.
func readReply(r io.Reader) (any, error) {
	in := reader{bufio.NewReader(r), maxReply, maxItems}
	reply, err := in.value(maxDepth)
	switch {
	case err == nil && in.Buffered() > 0:
		return nil, fmt.Errorf("%w: bytes follow it", errProtocol)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return reply, err
}

// value reads a value; arrays may be so deep in it.
func (in *reader) value(depth int) (any, error) {
	if in.items--; in.items < 0 {
		return nil, fmt.Errorf("%w: more than %d values", errProtocol, maxItems)
	}
	line, err := in.line()
	if err != nil {
		return nil, err
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return Error(rest), nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: a line %s", errProtocol, printable(line))
	}
	switch {
	case kind == ':':
		return n, nil
	case (kind == '$' || kind == '*') && n == -1:
		return nil, nil
	case kind == '$' && n >= 0:
		return in.bulk(n)
	case kind == '*' && n >= 0:
		return in.array(n, depth)
	}
	return nil, fmt.Errorf("%w: a line %s", errProtocol, printable(line))
}

// line reads up to the end of a line, which it cuts off.
func (in *reader) line() (string, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return "", fmt.Errorf("%w: a line of more than %d bytes", errProtocol, maxLine)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
	if in.bytes -= len(line); in.bytes < 0 {
		return "", fmt.Errorf("%w: more than %d bytes", errProtocol, maxReply)
	}
	if n := len(line); n >= 3 && line[n-2] == '\r' {
		return string(line[:n-2]), nil
	}
	return "", fmt.Errorf("%w: a line %s", errProtocol, printable(string(line)))
}

// bulk reads n bytes and the end of the line.
func (in *reader) bulk(n int64) (any, error) {
	if n > int64(in.bytes) {
		return nil, fmt.Errorf("%w: more than %d bytes", errProtocol, maxReply)
	}
	in.bytes -= int(n)
	// What has come decides how much memory it takes, not what is announced.
	text, err := io.ReadAll(io.LimitReader(in, n+2))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) < n+2 {
		return nil, io.ErrUnexpectedEOF
	}
	if string(text[n:]) != "\r\n" {
		return nil, fmt.Errorf("%w: a string of another length than announced", errProtocol)
	}
	return text[:n], nil
}

func (in *reader) array(n int64, depth int) (any, error) {
	if depth == 0 {
		return nil, fmt.Errorf("%w: more than %d arrays in arrays", errProtocol, maxDepth)
	}
	if n > int64(in.items) {
		return nil, fmt.Errorf("%w: more than %d values", errProtocol, maxItems)
	}
	values := []any{}
	for range n {
		v, err := in.value(depth - 1)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// printable quotes what a server sent, for a log and a terminal.
func printable(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strconv.Quote(text)
}
