package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"

	"github.com/tunnelpool/pool/bench/internal/muxrelay"
	"github.com/tunnelpool/pool/bench/internal/traffic"
	"github.com/tunnelpool/pool/bench/internal/trial"
)

// role is what this program does when it has started itself.
func role(name string, args []string) error {
	want := map[string]int{trial.RoleTarget: 1, trial.RoleLoad: 1, trial.RoleMuxServer: 2, trial.RoleMuxClient: 2}
	if len(args) != want[name] || len(args) == 0 {
		return fmt.Errorf("%s is not for hand use", name)
	}
	switch name {
	case trial.RoleTarget:
		l, err := listen(args[0])
		if err != nil {
			return err
		}
		return traffic.Serve(l)
	case trial.RoleLoad:
		var l traffic.Load
		if err := json.Unmarshal([]byte(args[0]), &l); err != nil {
			return err
		}
		return traffic.Run(l, os.Stdin, os.Stdout)
	case trial.RoleMuxServer:
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
		fmt.Println(trial.Listening + l.Addr().String())
	}
	return l, err
}
