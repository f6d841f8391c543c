package wakeup

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestAddressesOfANamespace lets the kernel take addresses away and give them,
// in a network of the test's own.
func TestAddressesOfANamespace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a network namespace takes root")
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("the ip command is not here")
	}
	const local, other = "192.0.2.7", "192.0.2.8"
	var looks atomic.Int64
	s := machine
	s.addresses = func() ([]netip.Addr, error) { looks.Add(1); return localAddresses() }

	type shell struct {
		say func(string, ...any) // runs ip with that, and waits until it has
		err error
	}
	ready := make(chan shell, 1)
	answers := make(chan error, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() { // ends with both answers, or ctx
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- shell{err: err}
			return
		}
		c := exec.CommandContext(ctx, "sh", "-e")
		in, err := c.StdinPipe()
		if err != nil {
			ready <- shell{err: err}
			return
		}
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			ready <- shell{err: err}
			return
		}
		defer c.Wait()
		defer in.Close()
		done := bufio.NewReader(out)
		say := func(format string, args ...any) {
			fmt.Fprintf(in, "%s %s\necho\n", ip, fmt.Sprintf(format, args...))
			done.ReadString('\n') // or the shell's end
		}
		say("link set lo up")
		say("addr add %s/32 dev lo", local)
		ready <- shell{say: say}
		answers <- s.watch(ctx, netip.MustParseAddr(local), time.Hour)
		answers <- s.await(ctx, time.Hour)
	}()
	sh := <-ready
	if sh.err != nil {
		t.Skipf("no network namespace: %v", sh.err)
	}
	looked := func(times int64) {
		for until := looks.Load() + times; looks.Load() < until && ctx.Err() == nil; {
			time.Sleep(time.Millisecond)
		}
	}
	sh.say("addr add %s/32 dev lo", other)
	looked(2)
	require.Empty(t, answers, "another address came")
	sh.say("addr del %s/32 dev lo", local)
	require.ErrorIs(t, <-answers, ErrAddressGone)
	looked(2)
	sh.say("addr add %s/32 dev lo", local)
	require.ErrorIs(t, <-answers, ErrAddressNew)
}
