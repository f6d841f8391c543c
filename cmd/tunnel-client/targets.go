package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/tunnelpool/pool/internal/config"
	"github.com/tunnelpool/pool/internal/proxyheader"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/tunnel"
)

// targetFlags are what a service can have for its targets, each [SERVICE=]VALUE.
type targetFlags struct{ connectTimeout, health, healthInterval, proxyProtocol []string }

func (f *targetFlags) add(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.connectTimeout, "connect-timeout", nil, fmt.Sprintf("how long a target may take to accept a user, as [SERVICE=]DURATION; repeatable (default %v)", tunnel.DefaultConnectTimeout))
	fl.StringArrayVar(&f.health, "health", nil, "check targets and pass those over that are not well, as [SERVICE=]tcp or [SERVICE=]http:/PATH; repeatable")
	fl.StringArrayVar(&f.healthInterval, "health-interval", nil, fmt.Sprintf("time between two checks of a target, as [SERVICE=]DURATION; repeatable (default %v)", tunnel.DefaultHealthInterval))
	fl.StringArrayVar(&f.proxyProtocol, "proxy-protocol", nil, "tell targets users' addresses in a header of the PROXY protocol, as [SERVICE=]v1 or [SERVICE=]v2; repeatable")
}

// apply gives the services what the flags say of them.
func (f *targetFlags) apply(services []tunnel.Service) error {
	for _, flag := range []struct {
		name   string
		values []string
		set    func(s *tunnel.Service, value string) error
	}{
		{"--connect-timeout", f.connectTimeout, func(s *tunnel.Service, value string) (err error) {
			s.ConnectTimeout, err = duration(value, time.Millisecond)
			return err
		}},
		{"--health", f.health, func(s *tunnel.Service, value string) error {
			s.Health = value
			_, err := service.ParseCheck(value)
			return cmp.Or(err, notUDP(s))
		}},
		{"--health-interval", f.healthInterval, func(s *tunnel.Service, value string) (err error) {
			s.HealthInterval, err = duration(value, tunnel.MinHealthInterval)
			return err
		}},
		{"--proxy-protocol", f.proxyProtocol, func(s *tunnel.Service, value string) error {
			s.ProxyProtocol = value
			_, err := proxyheader.ParseVersion(value)
			return cmp.Or(err, notUDP(s))
		}},
	} {
		if err := config.PerService(flag.name, flag.values, services, flag.set); err != nil {
			return err
		}
	}
	if len(f.healthInterval) > 0 && !slices.ContainsFunc(services, func(s tunnel.Service) bool { return s.Health != "" }) {
		return fmt.Errorf("--health-interval %q: no service has a --health", f.healthInterval[0])
	}
	return nil
}

// notUDP refuses what only services of TCP can have.
func notUDP(s *tunnel.Service) error {
	if s.Network == "udp" {
		return fmt.Errorf("service %q is of UDP, which has none; put SERVICE= of another in front", s.Name)
	}
	return nil
}

// duration reads one that is no shorter than least.
func duration(text string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < least {
		return 0, fmt.Errorf("want a time of at least %v, as in 500ms or 5s", least)
	}
	return d, nil
}
