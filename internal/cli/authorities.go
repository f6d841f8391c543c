package cli

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Authorities reads the certificates of a PEM file that a flag names.
func Authorities(flag, path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s %s holds no PEM certificate", flag, path)
	}
	return authorities, nil
}
