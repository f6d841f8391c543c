package report

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, Median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, Median([]float64{4, 1, 2, 3}))
	require.True(t, math.IsNaN(Median(nil)))
}

func TestQuantile(t *testing.T) {
	values := make([]float64, 100)
	for i := range values {
		values[i] = float64(100 - i)
	}
	require.Equal(t, 50.0, Quantile(values, 0.5))
	require.Equal(t, 99.0, Quantile(values, 0.99))
	require.Equal(t, 100.0, Quantile(values, 1))
	require.Equal(t, 1.0, Quantile(values, 0))
	require.Equal(t, 7.0, Quantile([]float64{7}, 0.99))
	require.True(t, math.IsNaN(Quantile(nil, 0.5)))
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 3: "3", 0.12345: "0.123", 1.2345: "1.23", 12.345: "12.3", 123.45: "123", 1234.5: "1,234",
		12345678: "12,345,678", -1234: "-1,234", -0.5: "-0.500",
	} {
		require.Equal(t, want, significant(v), "%v", v)
	}
	require.Equal(t, "–", significant(math.NaN()))
}

// sample is a sheet with what a cell can hold.
func sample() *Sheet {
	s := &Sheet{Columns: []string{"direct", "tunnel"}}
	near := s.Section("Near")
	first := near.Row("first byte", Duration, true)
	for round, pair := range [][2]float64{{100e-6, 300e-6}, {110e-6, 220e-6}, {90e-6, 450e-6}} {
		first.Set("direct", round, pair[0])
		first.Set("tunnel", round, pair[1])
	}
	near.Row("memory", Size, false).Set("tunnel", 0, 3<<20)
	s.Section("Far").Row("rate", PerSecond, true).Set("direct", 0, 1234)
	s.Note("something about %d", 1)
	s.Note("something about %d", 1)
	return s
}

func TestText(t *testing.T) {
	var out strings.Builder
	sample().Text(&out)
	require.Equal(t, `
Near
  Quantity    direct           tunnel
  first byte  100 (90–110) µs  300 (220–450) µs 3.00×
  memory                       3 MB

Far
  Quantity    direct           tunnel
  rate        1,234 /s

something about 1
`, out.String())
}

func TestMarkdown(t *testing.T) {
	var out strings.Builder
	sample().Markdown(&out)
	require.Equal(t, `
### Near

| Quantity | direct | tunnel |
|---|---:|---:|
| first byte | 100 (90–110) µs | 300 (220–450) µs 3.00× |
| memory |  | 3 MB |

### Far

| Quantity | direct | tunnel |
|---|---:|---:|
| rate | 1,234 /s |  |

- something about 1
`, out.String())
}

// TestSharesAreOfTheSameRound holds that a round that lacks the base has no
// share, and that the share is the median of shares.
func TestSharesAreOfTheSameRound(t *testing.T) {
	r := new(Section).Row("rate", PerSecond, true)
	r.Set("direct", 0, 100)
	r.Set("direct", 2, 10)
	r.Set("tunnel", 0, 50)
	r.Set("tunnel", 1, 1000)
	r.Set("tunnel", 2, 1)
	require.Contains(t, r.cell("tunnel", "direct"), " 0.300×")
	require.Empty(t, r.cell("nobody", "direct"))
	require.NotContains(t, r.cell("tunnel", "nobody"), "×")
}
