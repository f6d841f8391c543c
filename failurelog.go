package pool

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

const (
	// reportInterval is how often the log is told of failures that got no line
	// of their own.
	reportInterval = time.Minute

	// reportedSources bounds the lines of a report. What the other sources did
	// is one line more.
	reportedSources = 8

	// The first wrong proof of a source is worth a warning at once, but who has
	// many addresses must not be able to fill the log: beyond this rate it waits
	// for the report as all others do.
	warningsPerSecond = 1
	warningsBurst     = 10
)

// failureCount is what a report says of a source.
type failureCount struct {
	wrong   int   // proofs
	unheard int   // closed because too many failed before
	keyID   KeyID // of the last wrong proof
}

func (c failureCount) any() bool { return c.wrong > 0 || c.unheard > 0 }

func (c *failureCount) add(more failureCount) {
	if more.wrong > 0 {
		c.keyID = more.keyID
	}
	c.wrong += more.wrong
	c.unheard += more.unheard
}

// failureReport is what there is to say of one source; of several when it is
// not valid.
type failureReport struct {
	source netip.Prefix
	failureCount
}

// countLocked adds to the next report; r is nil for a source without a record.
func (f *failures) countLocked(r *failureRecord, more failureCount, now time.Time) {
	if r == nil {
		f.others.add(more)
	} else {
		r.count.add(more)
	}
	if f.since.IsZero() {
		f.since = now
		select {
		case f.unreported <- struct{}{}:
		default:
		}
	}
}

// wrongProof notes one. It reports true for the first of a source in a while,
// which is worth a line at once; the others wait for the report.
func (f *failures) wrongProof(source netip.Prefix, favored bool, id KeyID) (first bool) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.recordLocked(source, favored, now)
	first = now.Sub(r.lastWrong) >= reportInterval && f.warnings.AllowN(now, 1)
	r.lastWrong = now
	if !first {
		f.countLocked(r, failureCount{wrong: 1, keyID: id}, now)
	}
	return first
}

// report takes what is to be reported: the sources with most, the rest in one,
// and the time that it covers.
func (f *failures) report() (reports []failureReport, covered time.Duration) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since.IsZero() {
		return nil, 0
	}
	for source, r := range f.records {
		if r.count.any() {
			reports = append(reports, failureReport{source, r.count})
			r.count, r.lastWrong = failureCount{}, now
		}
		f.forgetCleanLocked(r, now)
	}
	slices.SortFunc(reports, func(a, b failureReport) int {
		return cmp.Compare(b.wrong+b.unheard, a.wrong+a.unheard)
	})
	rest := f.others
	for len(reports) > reportedSources {
		last := len(reports) - 1
		rest.add(reports[last].failureCount)
		reports = reports[:last]
	}
	if rest.any() {
		reports = append(reports, failureReport{failureCount: rest})
	}
	covered = now.Sub(f.since)
	f.others, f.since = failureCount{}, time.Time{}
	return reports, covered
}

// from names the source, "" for several.
func (r failureReport) from() string {
	switch {
	case r.source.IsSingleIP():
		return r.source.Addr().String()
	case r.source.IsValid():
		return r.source.String()
	}
	return ""
}

// text is the line of a report.
func (r failureReport) text(covered time.Duration) string {
	who := cmp.Or(r.from(), "other addresses")
	unheard := fmt.Sprintf("%d connections closed unheard, since too many had failed", r.unheard)
	switch {
	case r.wrong == 0:
		return fmt.Sprintf("%s: %s, in %v; somebody tries this port", who, unheard, covered)
	case r.unheard > 0:
		unheard = " and " + unheard
	default:
		unheard = ""
	}
	return fmt.Sprintf("%s: %d more wrong proofs of the key%s, in %v (the last with key ID %s); a client there has a wrong key, or somebody tries this port. None got in",
		who, r.wrong, unheard, covered, r.keyID)
}

// reportFailures writes a report a minute after there is something to report,
// and a last one when ctx ends.
func (a *Acceptor) reportFailures(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-a.failures.unreported:
			timer := time.NewTimer(reportInterval)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
		reports, covered := a.failures.report()
		covered = max(covered.Round(time.Second), time.Second)
		for _, r := range reports {
			facts := Facts{"source", r.from(), "wrong_proofs", r.wrong, "unheard", r.unheard, "lasted_seconds", covered}
			if r.wrong > 0 {
				facts = append(facts, "key_id", r.keyID)
			}
			Tell(a.log, slog.LevelWarn, "failed_attempts", facts, "%s", r.text(covered))
		}
	}
}
