package e2e

import (
	"os"
	"testing"
)

// long skips a test that takes minutes, but in the long run.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("TUNNEL_LONG") == "" {
		t.Skip("it takes long; TUNNEL_LONG=1 runs it")
	}
}
