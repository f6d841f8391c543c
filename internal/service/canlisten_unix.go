//go:build unix

package service

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// bindOnly binds a socket of a network, as package net names it, to an address
// that has been resolved.
func bindOnly(fd uintptr, network, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	if host != "" && ip == nil {
		return errors.ErrUnsupported // an address with a zone
	}
	if strings.HasSuffix(network, "4") {
		at := &unix.SockaddrInet4{Port: int(number)}
		copy(at.Addr[:], ip.To4())
		return unix.Bind(int(fd), at)
	}
	if ip.Equal(net.IPv4zero) {
		ip = net.IPv6zero // what package net makes of it, for both families
	}
	at := &unix.SockaddrInet6{Port: int(number)}
	copy(at.Addr[:], ip.To16())
	return unix.Bind(int(fd), at)
}
