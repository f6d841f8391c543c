package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"github.com/tunnelpool/pool/internal/access"
	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/units"
	"github.com/tunnelpool/pool/tunnel"
)

// services reads every -R. Two on one public port cannot both come up.
func (f *publishFlags) services() ([]tunnel.Service, error) {
	var services []tunnel.Service
	for _, r := range f.reverse {
		s, err := config.ParseReverse(r)
		if err != nil {
			return nil, err
		}
		for _, other := range services {
			if s.Port != 0 && s.Port == other.Port && s.Network == other.Network && (s.Bind == other.Bind || s.Bind == "" || other.Bind == "") {
				return nil, fmt.Errorf("-R %q: public port %d is given twice", r, s.Port)
			}
		}
		services = append(services, s)
	}
	return services, f.perService(services)
}

// forwards reads every -L.
func (f *publishFlags) forwards() ([]tunnel.Forward, error) {
	var forwards []tunnel.Forward
	for _, l := range f.forward {
		forward, err := config.ParseForward(l)
		if err != nil {
			return nil, err
		}
		forwards = append(forwards, forward)
	}
	return forwards, nil
}

// maxRateText is longer than any rate, and shorter than a key: no error shows a
// part of one.
const maxRateText = 20

// perService applies what is given as [SERVICE=]VALUE.
func (f *publishFlags) perService(services []tunnel.Service) error {
	return cmp.Or(
		config.PerService("--group", f.group, services, func(s *tunnel.Service, name string) error {
			if name == "" {
				return errors.New("the name is missing")
			}
			s.Group = name
			return nil
		}),
		config.PerService("--rate", f.rate, services, func(s *tunnel.Service, rate string) (err error) {
			if len(rate) > maxRateText {
				return errors.New("want a number and a unit, for example 50Mbit")
			}
			s.Rate, err = units.ParseRate(rate)
			if err == nil && s.Rate < tunnel.MinRate {
				err = fmt.Errorf("too little; want %s at least", units.FormatRate(tunnel.MinRate))
			}
			return err
		}),
		config.PerService("--max-streams-per-service", f.maxPerService, services, func(s *tunnel.Service, most string) error {
			n, err := strconv.ParseInt(most, 10, 32)
			if err != nil || n < 1 {
				return errors.New("want a number, 1 at least")
			}
			s.MaxStreams = int(n)
			return nil
		}),
		config.PerService("--allow-from", f.allowFrom, services, func(s *tunnel.Service, value string) error {
			from, err := access.ParseSources(value)
			s.AllowFrom = from.Prefixes()
			return err
		}),
		config.UDPIdle(f.udpIdle, services),
		f.targets.apply(services),
	)
}
