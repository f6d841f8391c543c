//go:build unix

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// print shows a run as tables.
func (r *report) print(w io.Writer) {
	v := r.verdict
	fmt.Fprintf(w, "\nseed %d, TLS mode %s, %d users at a time, %v: %d visits, %.1f MB in whole requests, %d left before they said who they are\n",
		r.seed, r.tlsMode, r.users, r.lasted.Round(time.Millisecond), v.total, float64(v.bytes)/1e6, v.unnamed)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprint(t, "\nusers who\tserved\n")
	for m := range manners {
		fmt.Fprintf(t, "%v\t%d\n", m, v.served[m])
	}
	fmt.Fprint(t, "\nfault\ttimes\tnext user served after\tat the most\n")
	for _, o := range r.faults {
		fmt.Fprintf(t, "%s\t%d\t%v\t%v\n", o.name, o.count, o.quickest.Round(time.Millisecond), o.slowest.Round(time.Millisecond))
	}
	fmt.Fprint(t, "\nusers hit by a fault\t\n")
	for _, what := range slices.Sorted(maps.Keys(v.excused)) {
		fmt.Fprintf(t, "%s\t%d\n", what, v.excused[what])
	}
	fmt.Fprint(t, "\nprogram\tstarts\tMiB first\tlast\tpeak\tidle\tdescriptors first\tlast\tpeak\tidle\tthreads first\tlast\tgoroutines idle\n")
	for _, f := range r.flat {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", f.program, f.starts,
			f.first.rss>>20, f.last.rss>>20, f.peak.rss>>20, f.idle.rss>>20,
			f.first.files, f.last.files, f.peak.files, f.idle.files, f.first.threads, f.last.threads, f.goroutines)
	}
}
