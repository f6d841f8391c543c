// Package report gathers figures of rounds and prints them as a table of
// medians, spreads and shares.
package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Unit is how a figure is printed.
type Unit uint8

// The units. Figures are in seconds, bytes or counts.
const (
	Count     Unit = iota // a number
	Duration              // seconds, as µs, ms or s
	PerSecond             // a number a second
	Rate                  // bytes a second, as MB/s
	PerGB                 // seconds of processor time for 10⁹ bytes
	Size                  // bytes, as KB or MB of 1,024
	Share                 // of a processor, as %
)

// Row is one quantity.
type Row struct {
	Name    string
	Unit    Unit
	Against bool // print the share of the first column, round by round

	values map[string]map[int]float64 // by column and round
}

// Section is rows that were measured in one place.
type Section struct {
	Title string
	rows  []*Row
}

// Sheet is all figures of a run.
type Sheet struct {
	Columns  []string // the first is what shares are of
	sections []*Section
	notes    []string
}

// Section returns the section with a title, which is made where it is new.
func (s *Sheet) Section(title string) *Section {
	for _, sec := range s.sections {
		if sec.Title == title {
			return sec
		}
	}
	sec := &Section{Title: title}
	s.sections = append(s.sections, sec)
	return sec
}

// Note adds a line below the table. The same line is printed once.
func (s *Sheet) Note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if !slices.Contains(s.notes, line) {
		s.notes = append(s.notes, line)
	}
}

// Notes are the lines below the table.
func (s *Sheet) Notes() []string { return slices.Clone(s.notes) }

// Row returns the row of a name, which is made where it is new.
func (s *Section) Row(name string, unit Unit, against bool) *Row {
	for _, r := range s.rows {
		if r.Name == name {
			return r
		}
	}
	r := &Row{Name: name, Unit: unit, Against: against, values: make(map[string]map[int]float64)}
	s.rows = append(s.rows, r)
	return r
}

// Set records a figure of a round.
func (r *Row) Set(column string, round int, value float64) {
	if r.values[column] == nil {
		r.values[column] = make(map[int]float64)
	}
	r.values[column][round] = value
}

// cell prints median, spread and share of a column.
func (r *Row) cell(column, base string) string {
	var all, shares []float64
	for round, v := range r.values[column] {
		all = append(all, v)
		if b, ok := r.values[base][round]; ok && b != 0 && column != base {
			shares = append(shares, v/b)
		}
	}
	if len(all) == 0 {
		return ""
	}
	format, unit := r.Unit.scale(Median(all))
	text := format(Median(all))
	if len(all) > 1 {
		text += " (" + format(slices.Min(all)) + "–" + format(slices.Max(all)) + ")"
	}
	if unit != "" {
		text += " " + unit
	}
	if r.Against && len(shares) > 0 {
		text += fmt.Sprintf(" %s×", significant(Median(shares)))
	}
	return text
}

// scale tells how figures of the size of v are written.
func (u Unit) scale(v float64) (format func(float64) string, unit string) {
	factor := 1.0
	switch u {
	case Duration:
		switch {
		case v < 1e-3:
			factor, unit = 1e6, "µs"
		case v < 1:
			factor, unit = 1e3, "ms"
		default:
			unit = "s"
		}
	case PerSecond:
		unit = "/s"
	case Rate:
		factor, unit = 1e-6, "MB/s"
	case PerGB:
		unit = "s/GB"
	case Size:
		factor, unit = 1.0/1024, "KB"
		if v >= 1<<20 {
			factor, unit = 1.0/(1<<20), "MB"
		}
	case Share:
		factor, unit = 100, "%"
	}
	return func(v float64) string { return significant(v * factor) }, unit
}

// significant writes three digits, or all of a larger whole number, in groups.
func significant(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	abs := math.Abs(v)
	decimals := 0
	switch {
	case v == math.Trunc(v):
	case abs < 1:
		decimals = 3
	case abs < 10:
		decimals = 2
	case abs < 100:
		decimals = 1
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "," + whole[at:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return sign + whole
}

// Median is the middle value, or the mean of the two in the middle.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Quantile is the smallest value that at least a share q of all are not above.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	at := int(math.Ceil(q*float64(len(v)))) - 1
	return v[min(max(at, 0), len(v)-1)]
}
