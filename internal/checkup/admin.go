package checkup

import (
	"context"
	"time"

	"github.com/tunnelpool/pool/internal/admin"
	"github.com/tunnelpool/pool/internal/service"
	"github.com/tunnelpool/pool/tunnel"
)

// stepAdmin is the name of the step of Admin.
const stepAdmin = "admin"

// askWait bounds how long a running program is waited for.
const askWait = 2 * time.Second

// Admin takes the step of the address of --admin, if there is one: it must be free,
// or the program that runs with the state directory has it.
func (r *Report) Admin(ctx context.Context, address, stateDir string) {
	if address == "" {
		return
	}
	step := tunnel.ProbeStep{Name: stepAdmin, Subject: address, State: tunnel.ProbeOK, Detail: address + " is free"}
	err := service.CanListen("tcp", address)
	switch {
	case err == nil:
	case service.AddrInUse(err) && r.runs(ctx, stateDir):
		step.Detail = address + " is in use, as it must be while this program runs"
	case service.AddrInUse(err):
		step.State, step.Err = tunnel.ProbeFailed, err
		step.Detail, step.Remedy = address+" is in use by another program", "stop it, or choose another port with --admin"
	default:
		step.State, step.Err = tunnel.ProbeFailed, err
		step.Detail, step.Remedy = err.Error(), "give --admin an address of this machine"
	}
	r.Step(step)
}

// runs reports whether the program runs with a state directory.
func (r *Report) runs(ctx context.Context, stateDir string) bool {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	running := admin.Control(stateDir, r.program)
	defer running.Close()
	_, err := running.Report(ctx)
	return err == nil
}
