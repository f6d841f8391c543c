//go:build !unix

package pool

// pollState is empty where the platform offers no non-blocking peek. Liveness
// then rests on keep-alive and on what the holder's first bytes meet.
type pollState struct{}

func (*pollState) look(uintptr) liveness { return livenessUnknown }
