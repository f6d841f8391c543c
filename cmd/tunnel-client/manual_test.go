package main

import (
	"testing"

	"github.com/tunnelpool/pool/internal/clitest"
)

func TestManualPage(t *testing.T) { clitest.ManualPage(t, command) }

func TestCompletion(t *testing.T) {
	clitest.Completion(t, command)
	clitest.Offers(t, command, "--tls", "0", "1", "2")
	clitest.Offers(t, command, "--proxy-protocol", "v1", "v2")
}
