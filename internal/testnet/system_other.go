//go:build !linux

package testnet

import (
	"errors"
	"os"
)

var errLinuxOnly = errors.New("testnet: network namespaces are Linux's")

func newNamespace(string) (*Namespace, error) { return nil, errLinuxOnly }

func within(*os.File, func() error) error { return errLinuxOnly }

func (*Namespace) setLargePackets(bool) error { return errLinuxOnly }
