// Package e2e has no code of its own: its tests build both programs and use
// them as a newcomer does, over loopback, and as bad days do: killed, frozen,
// and in networks that lose things, for which they need root and Linux. What
// takes minutes is run with TUNNEL_LONG=1.
package e2e
