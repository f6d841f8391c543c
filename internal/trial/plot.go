package trial

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The layout of a plot, in pixels: panels below each other, with the same time.
const (
	plotWidth   = 760
	panelHeight = 110
	panelGap    = 34
	leftMargin  = 56
	rightMargin = 16
	topMargin   = 44
	panelWidth  = plotWidth - leftMargin - rightMargin
)

// series is one line of a panel.
type series struct {
	color  string
	values []float64
}

// The colors differ in lightness too, for those who see no difference in hue.
const (
	colorOurs   = "#0b5394"
	colorSeed   = "#e69138"
	colorTakers = "#777777"
)

// plot draws what the two rules did with the first story of a trace, as SVG.
func plot(t *Trace, ours, seed []Point, minCap int) string {
	var b strings.Builder
	bin := (t.Length / plotPoints).Seconds()
	panels := []struct {
		title string
		lines []series
	}{
		{"takers a second", []series{{colorTakers, values(ours, func(p Point) float64 { return float64(p.Takers) / bin })}}},
		{"idle connections", []series{
			{colorSeed, values(seed, func(p Point) float64 { return p.Idle })},
			{colorOurs, values(ours, func(p Point) float64 { return p.Idle })},
		}},
		{"takers that wait", []series{
			{colorSeed, values(seed, func(p Point) float64 { return float64(p.Waiting) })},
			{colorOurs, values(ours, func(p Point) float64 { return float64(p.Waiting) })},
		}},
	}
	height := topMargin + len(panels)*(panelHeight+panelGap)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth, height, plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<text x="%d" y="18" font-size="14" font-weight="bold">%s, capacity %d to %d</text>`+"\n", leftMargin, t.Name, minCap, maxCap)
	fmt.Fprintf(&b, `<text x="%d" y="18" text-anchor="end"><tspan fill="%s">tunnelpool</tspan>  <tspan fill="%s">seed rule</tspan></text>`+"\n",
		plotWidth-rightMargin, colorOurs, colorSeed)
	for i, panel := range panels {
		drawPanel(&b, topMargin+i*(panelHeight+panelGap), panel.title, panel.lines, t.Length)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func values(points []Point, of func(Point) float64) []float64 {
	v := make([]float64, len(points))
	for i, p := range points {
		v[i] = of(p)
	}
	return v
}

func drawPanel(b *strings.Builder, top int, title string, lines []series, length time.Duration) {
	bottom := top + panelHeight
	highest := 0.0
	for _, l := range lines {
		for _, v := range l.values {
			highest = max(highest, v)
		}
	}
	step := tickStep(highest)
	limit := step * math.Ceil(max(highest/step, 1))
	fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", leftMargin, top-6, title)
	for v := 0.0; v <= limit; v += step {
		y := float64(bottom) - v/limit*panelHeight
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#dddddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			leftMargin, y, plotWidth-rightMargin, leftMargin-6, y+4, v)
	}
	const marks = 5 // of time
	for i := range marks + 1 {
		minutes := length.Minutes() * float64(i) / marks
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%g min</text>`+"\n",
			leftMargin+panelWidth*i/marks, bottom+16, minutes)
	}
	for _, l := range lines {
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, l.color)
		for i, v := range l.values {
			x := leftMargin + panelWidth*(float64(i)+0.5)/float64(len(l.values))
			fmt.Fprintf(b, "%.1f,%.1f ", x, float64(bottom)-v/limit*panelHeight)
		}
		b.WriteString("\"/>\n")
	}
}

// tickStep is a round number that divides an axis up to highest into two to
// five parts.
func tickStep(highest float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(max(highest, 1))))
	for _, part := range []float64{0.2, 0.5, 1} {
		if highest <= 5*part*step {
			return part * step
		}
	}
	return 2 * step
}
