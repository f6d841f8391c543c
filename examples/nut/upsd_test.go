package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/testnet"
)

// upsd is a real upsd on loopback with two UPSes of the dummy driver, and all of
// its files in a directory of its own.
type upsd struct {
	t       *testing.T
	program string
	dir     string
	address string
	server  *exec.Cmd
}

// variables is how many a UPS has besides those that the driver makes: in UPS
// "one" test.value.7 is "one 7".
const variables = 100

func value(ups string, n int) (name, value string) {
	return fmt.Sprintf("test.value.%d", n), fmt.Sprintf("%s %d", ups, n)
}

// startUPSD starts a upsd that knows the UPSes "one" and "two", and a user
// "watcher" with the password `pass "word`.
func startUPSD(t *testing.T) *upsd {
	t.Helper()
	u := &upsd{t: t, program: nutProgram(t, "upsd")}
	driver := nutProgram(t, "dummy-ups")
	dir, err := os.MkdirTemp("", "nut") // a short path: sockets are in it
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	port, err := testnet.FreePort()
	require.NoError(t, err)
	u.dir, u.address = dir, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))

	var upses strings.Builder
	for _, ups := range []string{"one", "two"} {
		var values strings.Builder
		for n := range variables {
			name, value := value(ups, n)
			fmt.Fprintf(&values, "%s: %s\n", name, value)
		}
		u.file(ups+".dev", "ups.status: OL\nbattery.charge: 90\n"+values.String())
		fmt.Fprintf(&upses, "[%s]\ndriver = dummy-ups\nsynchronous = yes\nport = %s\ndesc = \"UPS %s\"\n", ups, filepath.Join(dir, ups+".dev"), ups)
	}
	u.file("ups.conf", upses.String())
	u.file("upsd.conf", fmt.Sprintf("LISTEN 127.0.0.1 %d\n", port))
	u.file("upsd.users", "[watcher]\npassword = \"pass \\\"word\"\nupsmon secondary\n")
	for _, ups := range []string{"one", "two"} {
		u.run(driver, "-D", "-a", ups)
	}
	u.start()
	return u
}

// nutProgram finds one of NUT's daemons, which Debian keeps out of PATH: its
// /usr/sbin/upsd starts upsd only where /etc/nut/nut.conf says so.
func nutProgram(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/lib/nut", "/usr/lib/nut", "/usr/libexec/nut", "/usr/local/libexec/nut"} {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found
		}
	}
	found, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s: apt install nut-server", name)
	}
	return found
}

func (u *upsd) file(name, text string) {
	u.t.Helper()
	require.NoError(u.t, os.WriteFile(filepath.Join(u.dir, name), []byte(text), 0o600))
}

// run starts a program of NUT, which ends with the test.
func (u *upsd) run(program string, args ...string) *exec.Cmd {
	u.t.Helper()
	if os.Getuid() == 0 {
		args = append(args, "-u", "root") // else it would become a user who may not read our files
	}
	c := exec.Command(program, args...)
	c.Env = append(os.Environ(), "NUT_CONFPATH="+u.dir, "NUT_STATEPATH="+u.dir, "NUT_ALTPIDPATH="+u.dir)
	log := new(bytes.Buffer)
	c.Stdout, c.Stderr = log, log
	require.NoError(u.t, c.Start())
	u.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if u.t.Failed() {
			text := log.Bytes()
			u.t.Logf("%s said at last:\n%s", filepath.Base(program), text[max(len(text)-1000, 0):])
		}
	})
	return c
}

// start starts upsd and waits until it has heard of both UPSes.
func (u *upsd) start() {
	u.t.Helper()
	u.server = u.run(u.program, "-D")
	require.Eventually(u.t, func() bool { return u.knows("one") && u.knows("two") },
		20*time.Second, 20*time.Millisecond, "upsd does not come up")
}

// knows asks upsd on a connection without a pool.
func (u *upsd) knows(ups string) bool {
	conn, err := net.DialTimeout("tcp", u.address, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	name, want := value(ups, variables-1)
	got, err := newSession(conn).get("VAR", ups, name)
	return err == nil && got == want
}

// kill ends upsd as a crash does: every connection is reset or ended in the
// midst of whatever goes on.
func (u *upsd) kill() {
	u.t.Helper()
	require.NoError(u.t, u.server.Process.Kill())
	_, _ = u.server.Process.Wait()
}

// sockets is how many sockets upsd has open, or -1 where the system does not
// tell.
func (u *upsd) sockets() int {
	dir := fmt.Sprintf("/proc/%d/fd", u.server.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return -1
	}
	n := 0
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// client is one of the upsd, closed with the test.
func (u *upsd) client(connections int) *client {
	u.t.Helper()
	c, err := newClient(config{server: u.address, user: "watcher", password: `pass "word`, connections: connections})
	require.NoError(u.t, err)
	u.t.Cleanup(c.Close)
	return c
}
