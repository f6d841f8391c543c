package trial

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/tunnelpool/pool/bench/internal/muxrelay"
	"github.com/tunnelpool/pool/bench/internal/traffic"
)

// IsRole reports whether a program's first argument is one of the roles.
func IsRole(arg string) bool { return slices.Contains(roles, arg) }

// Role is what this program does when it has started itself. It returns when
// the role ends, which the processes of a trial mostly do by being killed.
func Role(name string, args []string) error {
	if wanted := map[string]int{roleTarget: 1, roleLoad: 1, roleMuxServer: 2, roleMuxClient: 2}[name]; len(args) != wanted {
		return fmt.Errorf("%s takes %d arguments, not %d", name, wanted, len(args))
	}
	switch name {
	case roleTarget:
		l, err := listen(args[0])
		if err != nil {
			return err
		}
		return traffic.Serve(l)
	case roleLoad:
		var l traffic.Load
		if err := json.Unmarshal([]byte(args[0]), &l); err != nil {
			return err
		}
		return traffic.Run(l, os.Stdin, os.Stdout)
	case roleMuxServer:
		tunnel, err := listen(args[0])
		if err != nil {
			return err
		}
		public, err := listen(args[1])
		if err != nil {
			return err
		}
		return muxrelay.Server(tunnel, public)
	default:
		return muxrelay.Client(args[0], args[1])
	}
}

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		fmt.Println(listeningOn + l.Addr().String())
	}
	return l, err
}
