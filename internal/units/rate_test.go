package units

import (
	"strings"
	"testing"
)

func TestRatesAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]int64{
		"1Mbit":     125_000,
		"1.5Gbit":   187_500_000,
		"500kbit":   62_500,
		"50Mbit":    6_250_000,
		"6.25MB":    6_250_000,
		"10MB":      10_000_000,
		"64KB":      64_000,
		"64kB":      64_000,
		"1GB":       1_000_000_000,
		"8bit":      1,
		"100B":      100,
		"10mbit":    1_250_000,
		"10 Mbit/s": 1_250_000,
		"0.1Mbit":   12_500,
		"10Tbit":    1_250_000_000_000,
	} {
		got, err := ParseRate(text)
		if err != nil || got != want {
			t.Errorf("%q is %d bytes per second (%v), want %d", text, got, err, want)
		}
	}
}

func TestWhatIsNoRateIsRefusedWithTheForm(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "no unit",
		"50":                              "no unit",
		"Mbit":                            "not a rate",
		"1.2.3Mbit":                       "not a rate",
		"-1Mbit":                          "not a rate",
		"50Mb":                            "unit that is not known", // bits or bytes?
		"50Mibit":                         "unit that is not known",
		"50 users":                        "unit that is not known",
		"1e3Mbit":                         "unit that is not known",
		"0Mbit":                           "less than a byte",
		"1bit":                            "less than a byte",
		"11Tbit":                          "more than 10Tbit",
		strings.Repeat("9", 400) + "Mbit": "not a rate",
	} {
		_, err := ParseRate(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "50Mbit") {
			t.Errorf("%q: %v, want %q and an example", text, err, want)
		}
	}
}

func TestAFormattedRateIsReadBackTheSame(t *testing.T) {
	for rate, want := range map[int64]string{
		0:                 "0bit",
		1:                 "8bit",
		125:               "1kbit",
		12_345:            "98.76kbit",
		6_250_000:         "50Mbit",
		187_500_000:       "1.5Gbit",
		1_250_000_000_000: "10Tbit",
		999_999_999_999:   "7.999999999992Tbit",
	} {
		text := FormatRate(rate)
		if text != want {
			t.Errorf("%d bytes per second are %s, want %s", rate, text, want)
		}
		if back, err := ParseRate(text); rate > 0 && (err != nil || back != rate) {
			t.Errorf("%s is read as %d (%v), was %d", text, back, err, rate)
		}
	}
}
