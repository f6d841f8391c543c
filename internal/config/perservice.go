package config

import (
	"fmt"
	"strings"

	"github.com/tunnelpool/pool/tunnel"
)

// PerService applies the values of a flag that is given as [SERVICE=]VALUE: one
// without a service holds for all that have no value of their own. set takes the
// value for one service. Errors name the flag and the value.
func PerService(flag string, values []string, services []tunnel.Service, set func(s *tunnel.Service, value string) error) error {
	if len(services) == 0 && len(values) > 0 {
		return fmt.Errorf("%s %q: it is for services, and there is no -R", flag, values[0])
	}
	own := make(map[string]string) // by service
	var all *string
	for _, text := range values {
		name, value, named := strings.Cut(text, "=")
		switch {
		case !named && all != nil:
			return fmt.Errorf("%s %q: there is one for all services already, %q; put SERVICE= in front", flag, text, *all)
		case !named:
			all = &text
			continue
		case !isService(services, name):
			return fmt.Errorf("%s %q: no -R is called %q; there is %s", flag, text, name, serviceNames(services))
		}
		if _, twice := own[name]; twice {
			return fmt.Errorf("%s %q: service %q has one already", flag, text, name)
		}
		own[name] = value
	}
	for i := range services {
		s := &services[i]
		value, ok := own[s.Name]
		if !ok {
			if all == nil {
				continue
			}
			value = *all
		}
		if err := set(s, value); err != nil {
			return fmt.Errorf("%s %q: %w", flag, value, err)
		}
	}
	return nil
}

func isService(services []tunnel.Service, name string) bool {
	for _, s := range services {
		if s.Name == name {
			return true
		}
	}
	return false
}

func serviceNames(services []tunnel.Service) string {
	var names []string
	for _, s := range services {
		names = append(names, fmt.Sprintf("%q", s.Name))
	}
	return strings.Join(names, ", ")
}
