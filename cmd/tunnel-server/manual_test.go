package main

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/clitest"
)

func TestManualPage(t *testing.T) { clitest.ManualPage(t, command) }

func TestCompletion(t *testing.T) {
	newHost(t)
	clitest.Completion(t, command)
	clitest.Offers(t, command, "--tls", "0", "1", "2")
	clitest.Offers(t, command, "--log-format", "text", "json")
	clitest.Offers(t, command, "demo --log-level", "debug", "info", "warn", "error", "none")
}

// Names of keys are offered where one is wanted, and no more than one.
func TestKeyNamesAreOffered(t *testing.T) {
	newHost(t)
	clitest.Offers(t, command, "key revoke", "default")
	for _, name := range []string{"anna", "backup"} {
		status, _, errOut := run(context.Background(), "key", "add", name)
		require.Zero(t, status, errOut)
	}
	clitest.Offers(t, command, "key revoke", "default", "anna", "backup")
	clitest.Offers(t, command, "key show", "default", "anna", "backup")
	clitest.Offers(t, command, "key revoke anna")
	elsewhere := t.TempDir()
	clitest.Offers(t, command, "key revoke --state-dir "+elsewhere, "default")
}

func TestDocumentedSettings(t *testing.T) {
	clitest.Settings(t, command, "All settings of the server", atStart)
	clitest.Example(t, command, "For the server")
	packaged, err := os.ReadFile("../../deploy/etc/server.yaml")
	require.NoError(t, err)
	clitest.Valid(t, command, string(packaged))
	clitest.Valid(t, command, clitest.Uncommented(string(packaged)))
}
