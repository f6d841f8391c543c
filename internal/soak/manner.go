package main

import (
	"math/rand/v2"
	"time"
)

// manner is how a user behaves.
type manner byte

const (
	asks       manner = iota // a short question, an answer
	halfCloses               // ends its direction, and the target answers only after that
	uploads                  // megabytes to the target
	downloads                // megabytes from it
	both                     // megabytes each way at the same time
	readsSlowly
	pauses   // falls silent in the middle
	resets   // in the middle
	saysBye  // closes in order before it has said everything
	isSilent // says nothing at all, and leaves
	manners
)

var mannerNames = [manners]string{"asks", "half-closes", "uploads", "downloads", "both ways", "reads slowly", "pauses", "resets", "says bye", "is silent"}

func (m manner) String() string {
	if m < manners {
		return mannerNames[m]
	}
	return "unknown"
}

// weights is how many of a hundred users have a manner.
var weights = [manners]int{asks: 30, halfCloses: 15, uploads: 6, downloads: 6, both: 5, readsSlowly: 6, pauses: 8, resets: 12, saysBye: 6, isSilent: 6}

func randomManner(random *rand.Rand) manner {
	n := random.IntN(100)
	for m, w := range weights {
		if n -= w; n < 0 {
			return manner(m)
		}
	}
	return asks
}

// randomRequest makes a request of a random manner and size.
func randomRequest(number uint64, random *rand.Rand) request {
	const small, middle, large = 4 << 10, 256 << 10, 4 << 20
	r := request{number: number, manner: randomManner(random)}
	r.up, r.down = random.Uint32N(small), random.Uint32N(small)
	switch r.manner {
	case halfCloses:
		r.down = random.Uint32N(middle)
	case uploads:
		r.up = random.Uint32N(large)
	case downloads:
		r.down = random.Uint32N(large)
	case both:
		r.up, r.down = random.Uint32N(large), random.Uint32N(large)
	case readsSlowly:
		r.down = random.Uint32N(middle)
	case resets, saysBye:
		r.up, r.down = 1+random.Uint32N(middle), random.Uint32N(middle)
	}
	return r
}

// answersAtOnce: the target does not wait for the end of the question.
func (m manner) answersAtOnce() bool { return m == both || m == resets }

// endsEarly: what the target gets may be less than was announced.
func (m manner) endsEarly() bool { return m == resets || m == saysBye || m == isSilent }

// pause is how long a user thinks before it comes again.
func pause(random *rand.Rand) time.Duration {
	return time.Duration(random.IntN(300)) * time.Millisecond
}
