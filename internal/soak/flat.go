package main

import (
	"fmt"
	"slices"
	"time"
)

// sample is what a process used at one moment.
type sample struct {
	at      time.Time
	rss     int64 // bytes
	files   int
	threads int
}

// series are the samples of one process.
type series struct {
	program string
	samples []sample
}

// since leaves out what came before.
func (s series) since(t time.Time) series {
	at, _ := slices.BinarySearchFunc(s.samples, t, func(a sample, t time.Time) int { return a.at.Compare(t) })
	return series{s.program, s.samples[at:]}
}

// leastSamples is what growth is told from.
const leastSamples = 12

// growth compares the last third with the first, by their medians, and says
// what grew beyond the slack that a load which comes in waves needs.
func (s series) growth() (first, last sample, grown []string) {
	n := len(s.samples)
	if n < leastSamples {
		return sample{}, sample{}, []string{fmt.Sprintf("%s: %d samples are too few to tell whether it grows; run for longer", s.program, n)}
	}
	first, last = middle(s.samples[:n/3]), middle(s.samples[n-n/3:])
	check := func(what string, before, after, slack int64) {
		if after > before+before/4+slack {
			grown = append(grown, fmt.Sprintf("%s: %s grew from %d to %d", s.program, what, before, after))
		}
	}
	check("memory (KiB)", first.rss>>10, last.rss>>10, 8<<10)
	check("descriptors", int64(first.files), int64(last.files), 32)
	check("threads", int64(first.threads), int64(last.threads), 8)
	return first, last, grown
}

// middle is the median of each figure.
func middle(all []sample) sample {
	pick := func(of func(sample) int64) int64 {
		values := make([]int64, len(all))
		for i, s := range all {
			values[i] = of(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return sample{
		rss:     pick(func(s sample) int64 { return s.rss }),
		files:   int(pick(func(s sample) int64 { return int64(s.files) })),
		threads: int(pick(func(s sample) int64 { return int64(s.threads) })),
	}
}

// peak is the most of each figure.
func (s series) peak() (p sample) {
	for _, one := range s.samples {
		p.rss, p.files, p.threads = max(p.rss, one.rss), max(p.files, one.files), max(p.threads, one.threads)
	}
	return p
}
