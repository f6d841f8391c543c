package statuscmd

import (
	"slices"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// style is how a terminal shows a piece of text.
type style string

const (
	normal style = ""
	strong style = "\x1b[1m"
	faint  style = "\x1b[2m"
	good   style = "\x1b[32m"
	wary   style = "\x1b[33m"
	bad    style = "\x1b[31m"
	reset        = "\x1b[0m"
)

// cell is a text in a table. The text may be a stranger's choice.
type cell struct {
	text  string
	style style
}

// column is one of a table.
type column struct {
	title string
	right bool // numbers are
	name  bool // what a person chose: it is cut where there is no room
}

// minName is how much is left of a name at least.
const minName = 6

// printer writes lines for a terminal of a width; 0: as long as they are.
type printer struct {
	b     strings.Builder
	width int
	color bool
}

// printable takes out what moves a terminal's cursor, or turns its text around.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// cut shortens a text to a width.
func cut(text string, width int) string {
	return runewidth.Truncate(text, width, "…")
}

// paint gives a text a style, where there is colour.
func (p *printer) paint(text string, s style) string {
	if !p.color || s == normal || text == "" {
		return text
	}
	return string(s) + text + reset
}

// line writes pieces, with a space between them, and cuts what does not fit.
func (p *printer) line(pieces ...cell) {
	room := p.width
	for i, c := range pieces {
		text := printable(c.text)
		if p.width > 0 {
			if i > 0 {
				room--
			}
			if room <= 0 {
				break
			}
			text = cut(text, room)
			room -= runewidth.StringWidth(text)
		}
		if i > 0 {
			p.b.WriteByte(' ')
		}
		p.b.WriteString(p.paint(text, c.style))
	}
	p.b.WriteByte('\n')
}

// gap is between two columns.
const gap = 2

// table writes rows below their titles. Columns without a text in any row are left
// out; names give way where the width does not do.
func (p *printer) table(columns []column, rows [][]cell) {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i := range row {
			row[i].text = printable(row[i].text)
			widths[i] = max(widths[i], runewidth.StringWidth(row[i].text))
		}
	}
	for i, w := range widths {
		if w > 0 {
			widths[i] = max(w, runewidth.StringWidth(columns[i].title))
		}
	}
	p.shrink(columns, widths)
	titles := make([]cell, len(columns))
	for i, c := range columns {
		titles[i] = cell{c.title, faint}
	}
	for _, row := range append([][]cell{titles}, rows...) {
		p.row(columns, widths, row)
	}
}

// shrink takes from the widest name until the row fits.
func (p *printer) shrink(columns []column, widths []int) {
	total := -gap
	for _, w := range widths {
		if w > 0 {
			total += w + gap
		}
	}
	for ; p.width > 0 && total > p.width; total-- {
		widest := -1
		for i, c := range columns {
			if c.name && widths[i] > minName && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return // the row is cut
		}
		widths[widest]--
	}
}

func (p *printer) row(columns []column, widths []int, row []cell) {
	room, first := p.width, true
	var pieces []string
	for i, c := range row {
		w := widths[i]
		if w == 0 {
			continue
		}
		if p.width > 0 {
			if !first {
				room -= gap
			}
			if room <= 0 {
				break
			}
			w = min(w, room)
			room -= w
		}
		first = false
		text := cut(c.text, w)
		space := strings.Repeat(" ", w-runewidth.StringWidth(text))
		if columns[i].right {
			pieces = append(pieces, space+p.paint(text, c.style))
		} else {
			pieces = append(pieces, p.paint(text, c.style)+space)
		}
	}
	p.b.WriteString(strings.TrimRight(strings.Join(pieces, strings.Repeat(" ", gap)), " "))
	p.b.WriteByte('\n')
}

// reasons are a map of counts as text, the most frequent first.
func reasons(counts map[string]uint64) string {
	names := make([]string, 0, len(counts))
	for name, n := range counts {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if counts[a] != counts[b] {
			if counts[a] > counts[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = name + " " + count(counts[name])
	}
	return strings.Join(names, ", ")
}
