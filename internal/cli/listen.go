package cli

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/tunnelpool/pool/internal/service"
)

// ListenError is what kept a program from opening the address that a flag gave,
// which has that form: one that is taken is a failure, an address that cannot be
// is a mistake.
func ListenError(flag, form string, err error) error {
	switch {
	case service.AddrInUse(err):
		return fmt.Errorf("%w (another program has the port: stop it, or choose another with %s)", err, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w (ports below 1024 need root or CAP_NET_BIND_SERVICE)", err)
	}
	return Usagef("%s: %w; it takes %s", flag, err, form)
}
