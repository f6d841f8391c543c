package cli

import (
	"log/slog"

	pool "github.com/tunnelpool/pool"
	"github.com/tunnelpool/pool/internal/certs"
)

// TellCertificate returns what tells the log of certificates that have changed.
func TellCertificate(log pool.Logger) func(*certs.Set, error) {
	return func(set *certs.Set, err error) {
		if err != nil {
			pool.Tell(log, slog.LevelWarn, "certificates_refused", pool.Facts{"error", err}, "%v; the certificates stay as they were", err)
			return
		}
		pool.Tell(log, slog.LevelInfo, "certificates_changed", pool.Facts{"certificates", set}, "The certificates have changed: %v", set)
	}
}
