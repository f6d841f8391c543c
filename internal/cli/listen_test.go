package cli

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListenErrors(t *testing.T) {
	for err, want := range map[error]string{
		syscall.EADDRINUSE:    "stop it, or choose another with --listen",
		syscall.Errno(10048):  "stop it, or choose another with --listen",
		syscall.EACCES:        "CAP_NET_BIND_SERVICE",
		syscall.EADDRNOTAVAIL: "--listen: listen: bind: cannot assign requested address; it takes [ADDRESS]:PORT",
	} {
		got := ListenError("--listen", "[ADDRESS]:PORT", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", err)})
		require.ErrorContains(t, got, want)
		require.ErrorIs(t, got, err)
	}
}
