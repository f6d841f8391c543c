package access

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParsePorts(t *testing.T) {
	tests := []struct {
		text, want string
		in, out    []uint16
	}{
		{"443", "443", []uint16{443}, []uint16{0, 1, 442, 444, 65535}},
		{"1024-65535", "1024-65535", []uint16{1024, 10101, 65535}, []uint16{0, 1, 1023}},
		{"1024-65535,443", "443,1024-65535", []uint16{443, 1024}, []uint16{0, 444, 1023}},
		{"1-65535", "1-65535", []uint16{1, 65535}, []uint16{0}},
		{" 80 , 8000 - 8080 ", "80,8000-8080", []uint16{80, 8000, 8080}, []uint16{79, 81, 7999, 8081}},
		{"80,80,80", "80", []uint16{80}, []uint16{79, 81}},
		{"80-90,85-100", "80-100", []uint16{80, 95, 100}, []uint16{79, 101}},
		{"80-100,85-90", "80-100", []uint16{95, 100}, []uint16{79, 101}},
		{"91-100,80-90", "80-100", []uint16{90, 91}, []uint16{79, 101}},
		{"65535,65534", "65534-65535", []uint16{65534, 65535}, []uint16{0, 65533}},
		{"9,7,5,3", "3,5,7,9", []uint16{3, 5, 7, 9}, []uint16{2, 4, 6, 8, 10}},
		{"5-5", "5", []uint16{5}, []uint16{4, 6}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			ports, err := ParsePorts(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := ports.String(); got != tt.want {
				t.Errorf("String() = %q, want %q", got, tt.want)
			}
			for _, port := range tt.in {
				if !ports.Allows(port) {
					t.Errorf("Allows(%d) = false", port)
				}
			}
			for _, port := range tt.out {
				if ports.Allows(port) {
					t.Errorf("Allows(%d) = true", port)
				}
			}
		})
	}
}

func TestParsePortsRefuses(t *testing.T) {
	tests := []struct{ text, says string }{
		{"", "no ports"},
		{"  ", "no ports"},
		{",", "comma"},
		{"80,", "comma"},
		{"80,,443", "comma"},
		{"0", `"0" is not a port`},
		{"0-80", `"0" is not a port`},
		{"65536", `"65536" is not a port`},
		{"80-65536", `"65536" is not a port`},
		{"-80", `"" is not a port`},
		{"80-", `"" is not a port`},
		{"80-90-100", `"90-100" is not a port`},
		{"90-80", "write the lower port first, 80-90"},
		{"http", `"http" is not a port`},
		{"+80", `"+80" is not a port`},
		{"0x50", `"0x50" is not a port`},
		{"80;443", `"80;443" is not a port`},
		{"80 443", `"80 443" is not a port`},
		{"8\n0", `"8\n0" is not a port`},
		{"８０", "is not a port"},
		{strings.Repeat("1,", maxRanges) + "1", "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.text[:min(len(tt.text), 20)], func(t *testing.T) {
			ports, err := ParsePorts(tt.text)
			if err == nil {
				t.Fatalf("ParsePorts(%q) = %v, want an error", tt.text, ports)
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "-") {
				t.Errorf("error %q does not say %q and how to write it", err, tt.says)
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 250 {
				t.Errorf("error %q is not one line", err)
			}
		})
	}
}

func TestPortsWithout(t *testing.T) {
	tests := []struct {
		text    string
		without uint16
		want    string
	}{
		{"1024-65535", 10101, "1024-10100,10102-65535"},
		{"1024-65535", 1024, "1025-65535"},
		{"1024-65535", 65535, "1024-65534"},
		{"1024-65535", 443, "1024-65535"},
		{"443,1024-65535", 443, "1024-65535"},
		{"443", 443, "none"},
		{"1-65535", 1, "2-65535"},
		{"1-65535", 0, "1-65535"},
	}
	for _, tt := range tests {
		ports, err := ParsePorts(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		rest := ports.Without(tt.without)
		if got := rest.String(); got != tt.want {
			t.Errorf("%s without %d = %s, want %s", tt.text, tt.without, got, tt.want)
		}
		if rest.Allows(tt.without) {
			t.Errorf("%s without %d still allows it", tt.text, tt.without)
		}
		if again, _ := ParsePorts(tt.text); again.String() != ports.String() {
			t.Errorf("Without changed the set it was asked of to %s", ports)
		}
	}
}

func TestZeroPortsAllowNothing(t *testing.T) {
	var none Ports
	if none.Allows(0) || none.Allows(80) || none.Without(80).Allows(80) {
		t.Error("the zero Ports allows a port")
	}
	if got := none.String(); got != "none" {
		t.Errorf("String() = %q, want none", got)
	}
}

// What parses prints as text that parses to the same set.
func FuzzParsePorts(f *testing.F) {
	for _, seed := range []string{"443", "1024-65535,443", "1-2,4-5,3", "", ",", "0", "9-1", "65535-65536", "-", " 1 - 2 "} {
		f.Add(seed, uint16(443))
	}
	f.Fuzz(func(t *testing.T, text string, port uint16) {
		ports, err := ParsePorts(text)
		if err != nil {
			return
		}
		again, err := ParsePorts(ports.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, ports, err)
		}
		if again.String() != ports.String() || again.Allows(port) != ports.Allows(port) {
			t.Errorf("%q prints as %q, which reads as %q", text, ports, again)
		}
		if ports.Allows(0) || ports.Without(port).Allows(port) {
			t.Errorf("%q allows port 0, or %d after it was taken out", text, port)
		}
	})
}
