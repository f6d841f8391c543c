package wire

import "testing"

// The numbers are the protocol: whoever changes one here changes what two
// versions of the programs mean to each other.
func TestConstants(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"FrameHeaderSize", FrameHeaderSize, 8},
		{"MaxData", MaxData, 1048576},
		{"RenewStream", int(RenewStream), 0xfff00000},
		{"MessageHeaderSize", MessageHeaderSize, 4},
		{"MaxMessage", MaxMessage, 4096},
		{"MaxText", MaxText, 255},
		{"MaxName", MaxName, 64},
		{"SessionSize", SessionSize, 16},
		{"MinHeartbeat ms", int(MinHeartbeat.Milliseconds()), 10},
		{"MaxHeartbeat ms", int(MaxHeartbeat.Milliseconds()), 600000},
		{"MaxPool", MaxPool, 1048576},
		{"NetworkTCP", NetworkTCP, 1},
		{"NetworkUDP", NetworkUDP, 2},
		{"WhatService", WhatService, 1},
		{"WhatForward", WhatForward, 2},
		{"WhatRest", WhatRest, 3},
		{"DatagramHeaderSize", DatagramHeaderSize, 2},
		{"MaxDatagram", MaxDatagram, 65507},
		{"RefProbe", RefProbe, 65535},
		{"KindPool", KindPool, 1},
		{"KindControl", KindControl, 2},
		{"KindCarrier", KindCarrier, 3},
		{"KindForward", KindForward, 4},
	} {
		if c.got != c.want {
			t.Errorf("%s = %d, want %d", c.name, c.got, c.want)
		}
	}
}

// TestCodes pins every number to its meaning, and that decoders know exactly
// these out of the 256 there are.
func TestCodes(t *testing.T) {
	checkNames(t, "frame type", map[byte]string{
		byte(FrameStart): "START", byte(FrameAck): "ACK", byte(FrameData): "DATA",
		byte(FrameFin): "FIN", byte(FrameReset): "RESET", byte(FrameDone): "DONE",
		byte(FrameWindow): "WINDOW", byte(FrameCut): "CUT", byte(FrameProbe): "PROBE",
	}, map[byte]string{1: "START", 2: "ACK", 3: "DATA", 4: "FIN", 5: "RESET", 6: "DONE", 7: "WINDOW", 8: "CUT", 9: "PROBE"},
		func(b byte) (string, bool) {
			_, _, ok := FrameType(b).payload()
			return FrameType(b).String(), ok
		})

	checkNames(t, "message type", map[byte]string{
		byte(TypeWelcome): "Welcome", byte(TypeDeny): "Deny", byte(TypeRegister): "Register",
		byte(TypeRegistered): "Registered", byte(TypeOpen): "Open",
		byte(TypeCancel): "Cancel", byte(TypeCanceled): "Canceled", byte(TypeNeed): "Need",
		byte(TypePing): "Ping", byte(TypePong): "Pong", byte(TypeGoAway): "GoAway",
		byte(TypeCarry): "Carry", byte(TypeForward): "Forward", byte(TypeForwarded): "Forwarded",
		byte(TypeWithdraw): "Withdraw", byte(TypeWithdrawn): "Withdrawn",
		byte(TypeAsk): "Ask", byte(TypeAnswer): "Answer",
	}, map[byte]string{1: "Welcome", 2: "Deny", 3: "Register", 4: "Registered", 5: "Open",
		6: "Cancel", 7: "Canceled", 8: "Need", 9: "Ping", 10: "Pong", 11: "GoAway", 12: "Carry",
		13: "Forward", 14: "Forwarded", 15: "Withdraw", 16: "Withdrawn", 17: "Ask", 18: "Answer"},
		func(b byte) (string, bool) { return MessageType(b).String(), MessageType(b).known() })

	checkNames(t, "code", map[byte]string{
		byte(OK): "ok", byte(PortNotAllowed): "port not allowed",
		byte(PortTaken): "port taken by another program", byte(PortHeld): "port held by another client",
		byte(BindNotAllowed): "bind address not allowed", byte(TooMany): "too many",
		byte(Unsupported): "unsupported", byte(Shutdown): "shutting down",
		byte(Internal): "internal error", byte(Replaced): "replaced by a newer session",
		byte(BadRequest): "bad request", byte(IdentityInUse): "identity in use",
		byte(TargetNotAllowed): "target not allowed",
	}, map[byte]string{0: "ok", 1: "port not allowed", 2: "port taken by another program",
		3: "port held by another client", 4: "bind address not allowed", 5: "too many",
		6: "unsupported", 7: "shutting down", 8: "internal error",
		9: "replaced by a newer session", 10: "bad request", 11: "identity in use",
		12: "target not allowed"},
		func(b byte) (string, bool) { return DenyCode(b).String(), DenyCode(b).known() })

	checkNames(t, "reset reason", map[byte]string{
		byte(ResetAborted): "aborted", byte(ResetRefused): "target refused the connection",
		byte(ResetUnreachable): "target unreachable", byte(ResetTimeout): "target timed out",
		byte(ResetShutdown): "shutting down", byte(ResetInternal): "internal error",
		byte(ResetOverloaded): "overloaded",
	}, map[byte]string{1: "aborted", 2: "target refused the connection", 3: "target unreachable",
		4: "target timed out", 5: "shutting down", 6: "internal error", 7: "overloaded"},
		func(b byte) (string, bool) {
			_, err := ParseReset([]byte{b})
			return ResetReason(b).String(), err == nil
		})

	checkNames(t, "outcome", map[byte]string{
		byte(Committed): "committed", byte(Refused): "refused", byte(Unknown): "unknown",
	}, map[byte]string{1: "committed", 2: "refused", 3: "unknown"},
		func(b byte) (string, bool) { return Outcome(b).String(), Outcome(b).known() })

	checkNames(t, "disposition", map[byte]string{byte(Keep): "keep", byte(Close): "close"},
		map[byte]string{1: "keep", 2: "close"},
		func(b byte) (string, bool) {
			_, err := ParseDone([]byte{b})
			return Disposition(b).String(), err == nil
		})
}

func checkNames(t *testing.T, what string, constants, want map[byte]string, lookup func(byte) (string, bool)) {
	t.Helper()
	for code := range 256 {
		b := byte(code)
		if constants[b] != want[b] {
			t.Errorf("%s: the constant with value %d is %q, want %q", what, b, constants[b], want[b])
		}
		name, known := lookup(b)
		if _, ok := want[b]; known != ok {
			t.Errorf("%s %d: known = %v, want %v", what, b, known, ok)
		} else if ok && name != want[b] {
			t.Errorf("%s %d: named %q, want %q", what, b, name, want[b])
		} else if !ok && name == "" {
			t.Errorf("%s %d has no name to print", what, b)
		}
	}
}
