package trial

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Tables are what a document shows of the report, as Markdown.
func (r *Report) Tables() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Round trip %v, %s per trace, capacity up to %d, interval %v to %v.\n",
		r.Setup.RoundTrip, plural(r.Setup.Seeds, "story", "stories"), maxCap, minInterval, maxInterval)
	if r.Setup.Scale != 1 {
		fmt.Fprintf(&b, "All rates times %g.\n", r.Setup.Scale)
	}
	for _, t := range r.Trials {
		t.tables(&b)
	}
	return b.String()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

func (t *Trial) tables(b *strings.Builder) {
	fmt.Fprintf(b, "\n### Capacity at least %d\n\n", t.MinCap)
	b.WriteString("| Trace | Rule | Takers that wait | 99 of 100 wait at most | Idle connections, mean | Dials per taker |\n|---|---|---:|---:|---:|---:|\n")
	for i := range traces {
		for c, name := range []string{oursConsumed: "tunnelpool", seedRule: "seed rule", oursRecycled: "tunnelpool, recycled"} {
			r, trace := t.Results[c][i], ""
			if c == 0 {
				trace = traces[i].Name
			}
			fmt.Fprintf(b, "| %s | %s | %s (%s %%) | %s | %.1f | %.3f |\n", trace, name,
				count(r.Waited), percent(r.Waited, r.Takers), millis(r.Wait99), r.Idle, r.Dials/r.Takers)
		}
	}
	b.WriteString("\n| In all traces together | Takers that wait | of the seed rule's | Idle connections, sum of means | Dials a minute while the server refuses |\n|---|---:|---:|---:|---:|\n")
	for c := range contestants {
		s := t.sum(c)
		fmt.Fprintf(b, "| %s | %s | %s | %.1f | %.0f |\n", contestants[c].name,
			count(s.waited), ratio(s.waited, t.sum(seedRule).waited), s.idle, s.outageDials)
	}
	b.WriteString("\n")
	for _, v := range t.Verdicts() {
		fmt.Fprintf(b, "- %s\n", v)
	}
}

// sums are a contestant's, over all traces.
type sums struct{ waited, idle, dials, outageDials float64 }

func (t *Trial) sum(contestant int) (s sums) {
	for _, r := range t.Results[contestant] {
		s.waited += r.Waited
		s.idle += r.Idle
		s.dials += r.Dials
		s.outageDials += r.OutageDials
	}
	return s
}

// Verdict is whether the planner meets one of the bars against the seed rule.
type Verdict struct {
	Holds bool
	Bar   string
	Found string
}

func (v Verdict) String() string {
	word := "Holds"
	if !v.Holds {
		word = "Does not hold"
	}
	return fmt.Sprintf("%s: %s. %s.", word, v.Bar, v.Found)
}

// Verdicts tell of each bar whether the planner meets it, with connections that
// serve one taker each, as the seed rule's do.
func (t *Trial) Verdicts() []Verdict {
	ours, seed := t.sum(oursConsumed), t.sum(seedRule)
	var worse []string
	for i := range traces {
		if t.Results[oursConsumed][i].Waited > t.Results[seedRule][i].Waited {
			worse = append(worse, traces[i].Name)
		}
	}
	onTraces := "On each as many or fewer"
	if len(worse) > 0 {
		onTraces = "More on " + strings.Join(worse, ", ")
	}
	return []Verdict{{
		ours.waited*5 <= seed.waited,
		"at most a fifth of the seed rule's takers wait, all traces together",
		fmt.Sprintf("%s against %s", count(ours.waited), count(seed.waited)),
	}, {
		len(worse) == 0,
		"on no trace do more takers wait",
		onTraces,
	}, {
		ours.idle <= seed.idle,
		"no more idle connections are held, all traces together",
		fmt.Sprintf("%.1f against %.1f", ours.idle, seed.idle),
	}, {
		ours.outageDials*10 <= seed.outageDials,
		"a failing server is dialed at most a tenth as often",
		fmt.Sprintf("%.0f against %.0f times a minute", ours.outageDials, seed.outageDials),
	}}
}

// count writes a number of takers with a comma between thousands.
func count(n float64) string {
	whole := int(math.Round(n))
	if whole < 1000 {
		return fmt.Sprint(whole)
	}
	return fmt.Sprintf("%s,%03d", count(float64(whole/1000)), whole%1000)
}

func percent(part, whole float64) string {
	if whole == 0 {
		return "0"
	}
	return fmt.Sprintf("%.3g", 100*part/whole)
}

func ratio(part, whole float64) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2g", part/whole)
}

func millis(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
