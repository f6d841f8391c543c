package trial

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// held is the trial that the document shows. It takes seconds, so it is held
// once.
var held = sync.OnceValue(func() *Report { return Run(Setup{}) })

// TestPlannerBeatsTheSeedRule holds the bars.
func TestPlannerBeatsTheSeedRule(t *testing.T) {
	for _, trial := range held().Trials {
		for _, v := range trial.Verdicts() {
			require.True(t, v.Holds, "capacity at least %d: %v", trial.MinCap, v)
			t.Logf("capacity at least %d: %v", trial.MinCap, v)
		}
	}
}

// TestPlannerOnOtherNetworks: what holds on other round trips than that of the
// document. On long ones the seed rule's pool is empty so often that ours holds
// more idle connections.
func TestPlannerOnOtherNetworks(t *testing.T) {
	for _, roundTrip := range []time.Duration{10 * time.Millisecond, 150 * time.Millisecond} {
		trial := Run(Setup{RoundTrip: roundTrip, Seeds: 1, MinCaps: []int{8}}).Trials[0]
		ours, seed, recycled := trial.sum(oursConsumed), trial.sum(seedRule), trial.sum(oursRecycled)
		t.Logf("%v: %.0f takers wait, %.0f with the seed rule, %.0f where connections are recycled",
			roundTrip, ours.waited, seed.waited, recycled.waited)
		require.Less(t, ours.waited, seed.waited/5)
		require.Less(t, ours.outageDials, seed.outageDials/10)
		require.Less(t, recycled.waited, ours.waited)
		require.Less(t, recycled.dials, ours.dials/20)
	}
}

// TestDocument: the document shows what the command writes. Where it fails, the
// planner decides otherwise than the document tells.
func TestDocument(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	text, err := os.ReadFile(filepath.Join(docs, document))
	require.NoError(t, err)
	spliced, err := held().Splice(string(text))
	require.NoError(t, err)
	const remedy = "go run ./internal/trial/cmd -write docs"
	want, got := strings.Split(spliced, "\n"), strings.Split(string(text), "\n")
	require.Len(t, got, len(want), remedy)
	for i := range want {
		require.Equal(t, want[i], got[i], "line %d of %s: %s", i+1, document, remedy)
	}
	plots := held().Plots()
	require.Len(t, plots, len(traces))
	for name, svg := range plots {
		file, err := os.ReadFile(filepath.Join(docs, plotsDir, name))
		require.NoError(t, err)
		require.True(t, svg == string(file), "%s is another plot: %s", name, remedy)
		require.Contains(t, string(text), plotsDir+"/"+name)
	}
}

func TestSameSetupSameReport(t *testing.T) {
	setup := Setup{Seeds: 2, FirstSeed: 7, Scale: 0.1}
	first, second := Run(setup), Run(setup)
	require.Equal(t, first, second)
	setup.FirstSeed = 8
	require.NotEqual(t, first.Tables(), Run(setup).Tables())
}

// TestBooksBalance: no connection and no taker is lost or doubled, in any
// moment of any story.
func TestBooksBalance(t *testing.T) {
	story := &Trace{
		Name: "of everything", Length: 5 * time.Minute, peak: 100,
		rate: func(t time.Duration) float64 {
			if (cycle{0, 3 * time.Second, 20 * time.Second}).has(t) {
				return 100
			}
			return 2
		},
		outage: cycle{55 * time.Second, 75 * time.Second, 2 * time.Minute},
	}
	for _, c := range contestants {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(story, Setup{}.filled(), c.make(8, 1), 1)
			w.recycles = c.recycles
			for w.events.next().at < story.Length {
				before := w.now
				w.step()
				b := &w.books
				if w.now < before ||
					b.made+b.returned != w.idle+b.handedOut ||
					b.takers != b.handedOut+b.gaveUp+len(w.waiting) ||
					w.idle > 0 && len(w.waiting) > 0 ||
					min(w.idle, w.clientIdle, w.clientOut, w.dialing) < 0 {
					t.Fatalf("at %v: %+v", w.now, w)
				}
			}
			require.Equal(t, len(w.takers), w.books.takers)
			require.Positive(t, w.books.gaveUp+w.books.returned)

			// When nothing is under way any more, both ends know the same.
			w.rule = restful{}
			for len(w.events.heap) > 0 {
				w.step()
			}
			require.Equal(t, w.idle, w.clientIdle)
			require.Zero(t, w.clientOut)
			require.Zero(t, w.dialing)
			require.Equal(t, w.books.made, w.idle+w.books.closed)
		})
	}
}

// restful is a rule that begins nothing.
type restful struct{}

func (restful) wake(*world)                           {}
func (restful) took(*world)                           {}
func (restful) returned(*world)                       {}
func (restful) need(*world, int)                      {}
func (restful) dialEnded(*world, time.Duration, bool) {}

func TestTakers(t *testing.T) {
	for _, trace := range traces {
		come := trace.takers(1, 1)
		want := 0.0
		for at := time.Duration(0); at < trace.Length; at += time.Second {
			rate := trace.rate(at)
			require.LessOrEqual(t, rate, trace.peak, trace.Name)
			want += rate
		}
		require.InEpsilon(t, want, len(come), 0.1, trace.Name)
		for i := 1; i < len(come); i++ {
			require.GreaterOrEqual(t, come[i], come[i-1])
		}
		require.Less(t, come[len(come)-1], trace.Length)
		require.Equal(t, come, trace.takers(1, 1))
		require.InEpsilon(t, want/2, len(trace.takers(1, 0.5)), 0.15, trace.Name)
	}
}

func TestVerdictsTellWhatDoesNotHold(t *testing.T) {
	trial := Trial{Results: make([][]Result, len(contestants))}
	for c := range contestants {
		trial.Results[c] = make([]Result, len(traces))
	}
	trial.Results[oursConsumed][1] = Result{Waited: 1234, Idle: 2, OutageDials: 1}
	trial.Results[seedRule][1] = Result{Waited: 1000, Idle: 1, OutageDials: 2}
	text := ""
	for _, v := range trial.Verdicts() {
		require.False(t, v.Holds)
		text += v.String()
	}
	for _, want := range []string{"Does not hold", "1,234 against 1,000", "More on bursts", "2.0 against 1.0", "1 against 2 times a minute"} {
		require.Contains(t, text, want)
	}
}

func TestSpliceNeedsItsMarks(t *testing.T) {
	for _, text := range []string{"", generated, ends, ends + generated} {
		_, err := held().Splice(text)
		require.ErrorContains(t, err, "no line")
	}
}

func TestPlotsAreWellFormed(t *testing.T) {
	for name, svg := range held().Plots() {
		require.Equal(t, 2*2+1, strings.Count(svg, "<polyline"), name)
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, name)
		}
		require.NotContains(t, svg, "NaN")
	}
}

func TestTickStep(t *testing.T) {
	for highest, want := range map[float64]float64{0: 0.2, 1: 0.2, 1.1: 0.5, 4: 1, 7: 2, 9.9: 2, 48: 10, 210: 50, 500: 100, 501: 200} {
		require.InDelta(t, want, tickStep(highest), 1e-9, "up to %v", highest)
	}
}
