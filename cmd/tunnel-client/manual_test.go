package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tunnelpool/pool/internal/clitest"
)

func TestManualPage(t *testing.T) { clitest.ManualPage(t, command) }

func TestCompletion(t *testing.T) {
	clitest.Completion(t, command)
	clitest.Offers(t, command, "--tls", "0", "1", "2")
	clitest.Offers(t, command, "--proxy-protocol", "v1", "v2")
}

func TestDocumentedSettings(t *testing.T) {
	clitest.Settings(t, command, "All settings of the client", atStart)
	clitest.Example(t, command, "For the client")
	packaged, err := os.ReadFile("../../deploy/etc/client.yaml")
	require.NoError(t, err)
	clitest.Valid(t, command, string(packaged))
	clitest.Valid(t, command, clitest.Uncommented(string(packaged)))
}
