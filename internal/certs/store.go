package certs

import (
	"context"
	"crypto/tls"
	"sync"

	"github.com/tunnelpool/pool/internal/watch"
)

// Store is the certificates that a program uses, which may be replaced while it
// runs. It is safe for concurrent use.
type Store struct {
	mu     sync.RWMutex // guards what follows
	set    *Set
	server *tls.Config // asks for set with every handshake
	client *tls.Config // made of set
}

// NewStore makes a store that holds a set.
func NewStore(set *Set) *Store {
	s := new(Store)
	s.server = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.Set().forServer(), nil }}
	s.Use(set)
	return s
}

// Use replaces the set. Connections that are there stay.
func (s *Store) Use(set *Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.useLocked(set)
}

func (s *Store) useLocked(set *Set) {
	if former := s.set; former == nil || !set.sameAuthorities(former) || (set.cert == nil) != (former.cert == nil) {
		s.client = &tls.Config{RootCAs: set.authorities}
		if set.cert != nil {
			// Shown whatever authorities the server names, so that it is the server
			// who says what is wrong with it.
			s.client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if cert := s.Set().cert; cert != nil {
					return cert, nil
				}
				return new(tls.Certificate), nil // no longer any
			}
		}
	}
	s.set = set
}

// Set is what the store holds.
func (s *Store) Set() *Set {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.set
}

// Server returns the configuration of a server, always the same one: every handshake
// has what the store holds then.
func (s *Store) Server() *tls.Config { return s.server }

// forServer is what one handshake has.
func (s *Set) forServer() *tls.Config {
	c := new(tls.Config)
	if s.cert != nil {
		c.Certificates = []tls.Certificate{*s.cert}
	}
	if s.authorities != nil {
		c.ClientCAs, c.ClientAuth = s.authorities, tls.RequireAndVerifyClientCert
		c.SessionTicketsDisabled = true // a ticket would outlive the trust that it was given in
	}
	return c
}

// Client returns the configuration of a client: every handshake shows the
// certificate that the store holds then. It is another one, by its address, when the
// store has got other authorities, or its first certificate or none: what is
// verified is for whoever dials to put in place.
func (s *Store) Client() *tls.Config {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.client
}

// Follow has the store hold what the files become, until ctx ends. told hears of
// every change, one call at a time: the new set, or why the former one is kept.
func (s *Store) Follow(ctx context.Context, told func(*Set, error)) {
	watch.Files(ctx, s.list, nil, func(contents map[string]watch.Content) {
		former := s.Set()
		set, err := load(former.files, func(path string) ([]byte, error) { // as they came to rest
			if c, ok := contents[path]; ok {
				return []byte(c.Data), c.Err
			}
			return read(path) // in use since a moment ago
		})
		if err != nil {
			told(nil, err)
			return
		}
		s.mu.Lock()
		current := s.set == former // else other files are used by now
		if current {
			s.useLocked(set)
		}
		s.mu.Unlock()
		if current {
			told(set, nil)
		}
	})
}

// list is the files to follow.
func (s *Store) list() (files []watch.File) {
	set := s.Set()
	for path, content := range set.contents {
		files = append(files, watch.File{Path: path, Read: read, Known: content})
	}
	return files
}
