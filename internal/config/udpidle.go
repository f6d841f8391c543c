package config

import (
	"fmt"
	"time"

	"github.com/tunnelpool/pool/tunnel"
)

// UDPIdle applies the values of --udp-idle, [SERVICE=]DURATION each, to the
// services of UDP.
func UDPIdle(values []string, services []tunnel.Service) error {
	const flag = "--udp-idle"
	var udp []tunnel.Service
	var at []int // of services
	for i, s := range services {
		if s.Network == "udp" {
			udp, at = append(udp, s), append(at, i)
		}
	}
	if len(values) > 0 && len(udp) == 0 {
		return fmt.Errorf("%s %q: it is for UDP, and no -R is one of udp/", flag, values[0])
	}
	err := PerService(flag, values, udp, func(s *tunnel.Service, value string) error {
		idle, err := time.ParseDuration(value)
		switch {
		case err != nil:
			return fmt.Errorf("not a duration, as in 30s or 5m")
		case idle < tunnel.MinUDPIdle || idle > tunnel.MaxUDPIdle:
			return fmt.Errorf("want %v to %v", tunnel.MinUDPIdle, tunnel.MaxUDPIdle)
		}
		s.UDPIdle = idle
		return nil
	})
	for i, s := range udp {
		services[at[i]] = s
	}
	return err
}
