// Package certs holds a program's certificates for TLS mode 2 as they are on disk.
// Certificates are renewed every few weeks, and a program that carries other
// people's connections should not be restarted for that.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/tunnelpool/pool/internal/watch"
)

// Files are PEM files; empty: none. Cert and Key go together.
type Files struct {
	Cert, Key   string // what is shown to the other side
	Authorities string // who vouches for what the other side shows
	Flag        string // that gives Authorities, for errors
}

// maxFile bounds a file, in bytes: the authorities of a whole system are 200 KB.
const maxFile = 4 << 20

func read(path string) ([]byte, error) { return watch.Bounded(path, maxFile) }

// Set is what the files held when they were read. It does not change.
type Set struct {
	files       Files
	cert        *tls.Certificate // nil: none
	authorities *x509.CertPool   // nil: none
	contents    map[string]watch.Content
}

// Load reads the files. Errors name the flags.
func Load(files Files) (*Set, error) { return load(files, read) }

func load(files Files, read func(path string) ([]byte, error)) (*Set, error) {
	s := &Set{files: files, contents: make(map[string]watch.Content)}
	get := func(path string) ([]byte, error) {
		data, err := read(path)
		s.contents[path] = watch.Content{Data: string(data), Err: err}
		return data, err
	}
	if files.Cert != "" {
		cert, err := get(files.Cert)
		var key []byte
		if err == nil {
			key, err = get(files.Key)
		}
		var pair tls.Certificate
		if err == nil {
			pair, err = tls.X509KeyPair(cert, key)
		}
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", files.Cert, files.Key, err)
		}
		s.cert = &pair
	}
	if files.Authorities != "" {
		pem, err := get(files.Authorities)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files.Flag, err)
		}
		s.authorities = x509.NewCertPool()
		if !s.authorities.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s %s holds no PEM certificate", files.Flag, files.Authorities)
		}
	}
	return s, nil
}

// Empty reports that there are no files.
func (s *Set) Empty() bool { return s.cert == nil && s.authorities == nil }

// String says what is held, for the log.
func (s *Set) String() string {
	var parts []string
	if s.cert != nil {
		part := s.files.Cert
		if leaf, err := x509.ParseCertificate(s.cert.Certificate[0]); err == nil {
			if len(leaf.DNSNames) > 0 {
				part += ", for " + strings.Join(leaf.DNSNames[:min(len(leaf.DNSNames), mostNames)], " ")
			}
			word := "valid until"
			if time.Now().After(leaf.NotAfter) {
				word = "expired on"
			}
			part += fmt.Sprintf(", %s %s", word, leaf.NotAfter.UTC().Format(time.DateOnly))
		}
		parts = append(parts, part)
	}
	if s.authorities != nil {
		parts = append(parts, s.files.Authorities)
	}
	return strings.Join(parts, "; ")
}

// mostNames of a certificate are shown.
const mostNames = 5

// sameAuthorities reports whether both trust the same.
func (s *Set) sameAuthorities(other *Set) bool {
	return (s.authorities == nil) == (other.authorities == nil) &&
		s.contents[s.files.Authorities] == other.contents[other.files.Authorities]
}
