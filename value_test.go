package pool

import (
	"bufio"
	"context"
	"fmt"
	"net/textproto"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// TestLeftoverInValue: what a reader that Setup built holds already is as unread as
// what the socket holds, and is not the next holder's.
func TestLeftoverInValue(t *testing.T) {
	for name, build := range map[string]func(*Conn) (value any, line func(any) (string, error)){
		"bufio.Reader": func(c *Conn) (any, func(any) (string, error)) {
			return bufio.NewReader(c), func(v any) (string, error) { return v.(*bufio.Reader).ReadString('\n') }
		},
		"textproto.Conn": func(c *Conn) (any, func(any) (string, error)) {
			return textproto.NewConn(c), func(v any) (string, error) { s, err := v.(*textproto.Conn).ReadLine(); return s + "\n", err }
		},
		"bufio.ReadWriter": func(c *Conn) (any, func(any) (string, error)) {
			return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)),
				func(v any) (string, error) { return v.(*bufio.ReadWriter).ReadString('\n') }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var line func(any) (string, error)
				p := newLocal(t, newLineServer(t, func(_ int, line string) string {
					if line == "twice" {
						return "twice\nand more"
					}
					return line
				}), LocalConfig{Limits: Limits{MaxOpen: 1}, Setup: func(_ context.Context, c *Conn) error {
					v, l := build(c)
					line = l
					c.SetValue(v)
					return nil
				}})
				for _, say := range []string{"once", "twice", "mine"} {
					c := mustGet(t, p)
					_, err := fmt.Fprintln(c, say)
					require.NoError(t, err)
					answer, err := line(c.Value())
					require.NoError(t, err)
					require.Equal(t, say+"\n", answer)
					p.Put(c.ID(), c)
				}
				require.Equal(t, map[CloseReason]uint64{ClosedUnfit: 1}, p.Stats().Closed)
			})
		})
	}
}
