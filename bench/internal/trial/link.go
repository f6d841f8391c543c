package trial

import (
	"fmt"
	"os/exec"
	"time"

	"github.com/tunnelpool/pool/internal/testnet"
)

// link is two network namespaces with a round trip between them.
func link(roundTrip time.Duration) (*network, error) {
	l, err := testnet.New(roundTrip / 2)
	if err != nil {
		return nil, err
	}
	at := func(n *testnet.Namespace) site {
		return site{addr: n.Addr(), start: func(c *exec.Cmd) error { return n.Start(c) }}
	}
	return &network{
		title:     fmt.Sprintf("Round trip %v", roundTrip),
		roundTrip: roundTrip,
		near:      at(l.A), far: at(l.B),
		lose: l.SetLoss, close: l.Close,
	}, nil
}
