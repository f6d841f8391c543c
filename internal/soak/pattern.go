package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
)

// What is said between a user and the target. A request is
//
//	header | up bytes of the request's pattern
//
// and its answer
//
//	down bytes of the answer's pattern | SHA-256 of the up bytes that arrived
//
// Both patterns follow from the request's number, so each side can tell by hash
// whether it got what the other sent.
type request struct {
	number   uint64
	manner   manner
	up, down uint32
}

const headerSize = 4 + 8 + 1 + 4 + 4

var magic = [4]byte{'S', 'O', 'A', 'K'}

func (r request) append(b []byte) []byte {
	b = append(b, magic[:]...)
	b = binary.BigEndian.AppendUint64(b, r.number)
	b = append(b, byte(r.manner))
	b = binary.BigEndian.AppendUint32(b, r.up)
	return binary.BigEndian.AppendUint32(b, r.down)
}

// errForeign: the bytes are not those that were sent here.
var errForeign = errors.New("foreign bytes")

func parseRequest(b [headerSize]byte) (request, error) {
	if [4]byte(b[:4]) != magic {
		return request{}, fmt.Errorf("%w: a connection that begins with %q", errForeign, b[:4])
	}
	return request{
		number: binary.BigEndian.Uint64(b[4:]), manner: manner(b[12]),
		up: binary.BigEndian.Uint32(b[13:]), down: binary.BigEndian.Uint32(b[17:]),
	}, nil
}

// pattern is an endless stream of bytes that belongs to one direction of one
// request.
func pattern(number uint64, answer bool) io.Reader {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], number)
	if answer {
		seed[8] = 1
	}
	return rand.NewChaCha8(seed)
}

// patternHash is the SHA-256 of a pattern's first n bytes.
func patternHash(number uint64, answer bool, n uint32) [sha256.Size]byte {
	h := sha256.New()
	io.CopyN(h, pattern(number, answer), int64(n))
	return [sha256.Size]byte(h.Sum(nil))
}

// checker takes what arrives of a pattern.
type checker struct {
	hash hash.Hash
	got  int64
}

func newChecker() *checker { return &checker{hash: sha256.New()} }

func (c *checker) Write(b []byte) (int, error) {
	c.got += int64(len(b))
	return c.hash.Write(b)
}

func (c *checker) sum() [sha256.Size]byte { return [sha256.Size]byte(c.hash.Sum(nil)) }

// check holds that what arrived is the beginning of the pattern.
func (c *checker) check(number uint64, answer bool) error {
	if c.sum() != patternHash(number, answer, uint32(c.got)) {
		return fmt.Errorf("%w among %d of request %d", errForeign, c.got, number)
	}
	return nil
}
