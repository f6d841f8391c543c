package notify

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// sendLimit bounds a message to a manager that does not read.
const sendLimit = time.Second

// send writes one message, an assignment a line.
func send(socket string, lines ...string) error {
	// Each message has a socket of its own: a manager that was restarted has
	// another behind the same address.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(sendLimit))
	_, err = conn.Write([]byte(strings.Join(lines, "\n")))
	return err
}

// line makes text safe to be a value: a part of it may be a peer's, and what
// follows a line's end would be an assignment of its own.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// watchdog is how long the manager waits for a sign of life before it ends the
// program; 0: it does not.
func watchdog() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0 // it means another process
	}
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || us <= 0 || us > int64(time.Hour/time.Microsecond)*24*365 {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}
