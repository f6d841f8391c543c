// Package units reads and writes quantities as people write them.
package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxRate is 10 Tbit a second, in bytes: more than any line carries, and little
// enough for sums and products of rates.
const maxRate = 10e12 / 8

const rateForm = "write a number and kbit, Mbit, Gbit, KB, MB or GB, for example 50Mbit or 6.25MB"

// multiples are decimal, as those of network lines are.
var multiples = []struct {
	prefix string
	factor int64
}{{"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}, {"", 1}}

// ParseRate reads an amount per second, such as "50Mbit", "1.5Gbit", "500kbit",
// "10MB" or "64KB", and returns it in bytes per second, rounded to whole ones.
// Bits are written "bit" and bytes "B"; prefixes are powers of 1,000 and may be
// of either case; "/s" may follow. The result is between 1 byte and 10 Tbit per
// second. An error quotes the text and says what the form is.
func ParseRate(text string) (bytesPerSecond int64, err error) {
	wrong := func(what string) (int64, error) {
		return 0, fmt.Errorf("%.80q %s; %s", text, what, rateForm)
	}
	unitAt := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if unitAt < 0 {
		return wrong("has no unit")
	}
	number, err := strconv.ParseFloat(text[:unitAt], 64)
	if err != nil {
		return wrong("is not a rate")
	}
	perUnit, ok := bytesPer(strings.TrimSuffix(strings.TrimSpace(text[unitAt:]), "/s"))
	if !ok {
		return wrong("has a unit that is not known")
	}
	switch rate := math.Round(number * perUnit); {
	case rate < 1:
		return wrong("is less than a byte per second")
	case rate > maxRate:
		return wrong("is more than 10Tbit")
	default:
		return int64(rate), nil
	}
}

// bytesPer is a unit in bytes.
func bytesPer(unit string) (bytes float64, ok bool) {
	prefix, isBits := cutSuffixFold(unit, "bit")
	bytes = 1.0 / 8
	if !isBits {
		// Only the large B is bytes: a small one is bits to some.
		if prefix, ok = strings.CutSuffix(unit, "B"); !ok {
			return 0, false
		}
		bytes = 1
	}
	for _, m := range multiples {
		if strings.EqualFold(prefix, m.prefix) {
			return bytes * float64(m.factor), true
		}
	}
	return 0, false
}

func cutSuffixFold(text, suffix string) (before string, found bool) {
	at := len(text) - len(suffix)
	if at < 0 || !strings.EqualFold(text[at:], suffix) {
		return text, false
	}
	return text[:at], true
}

// FormatRate writes a rate of 0 to 10 Tbit per second in bits, in the largest
// unit of which there is a whole one, as in "50Mbit" or "1.5Gbit". [ParseRate]
// reads the same rate from it, unless that is 0.
func FormatRate(bytesPerSecond int64) string {
	bits := bytesPerSecond * 8
	for _, m := range multiples {
		if bits >= m.factor {
			return strconv.FormatFloat(float64(bits)/float64(m.factor), 'f', -1, 64) + m.prefix + "bit"
		}
	}
	return "0bit"
}
