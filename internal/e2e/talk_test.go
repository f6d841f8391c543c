package e2e

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// repeat is a target that says what it hears.
func repeat(c net.Conn) { io.Copy(c, c) }

// talk is a user of such a target, whose connection stays open over a fault.
type talk struct {
	t *testing.T
	c net.Conn
}

func beginTalk(t *testing.T, dial dialer, address string) talk {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := dial(ctx, address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return talk{t, c}
}

// say sends a word and waits for its echo.
func (k talk) say(word string) {
	k.t.Helper()
	k.c.SetDeadline(time.Now().Add(patience))
	_, err := io.WriteString(k.c, word)
	require.NoError(k.t, err)
	echo := make([]byte, len(word))
	_, err = io.ReadFull(k.c, echo)
	require.NoError(k.t, err)
	require.Equal(k.t, word, string(echo))
}

// cut wants the talk to end with a reset.
func (k talk) cut() {
	k.t.Helper()
	k.c.SetDeadline(time.Now().Add(patience))
	_, err := k.c.Read(make([]byte, 1))
	requireReset(k.t, err)
}
