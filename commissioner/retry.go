package commissioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric"
)

// maxRuns is how often a pairing is tried when Bluetooth fails it. Before the
// last time the adapter is begun anew with.
const maxRuns = 3

// pair is Pair, again if Bluetooth fails.
func (c *Commissioner) pair(ctx context.Context, req PairRequest, progress func(Progress)) (*fabric.Device, *exchange.Session, error) {
	again := func(format string, args ...any) {
		progress(Progress{Step: 1, Of: len(steps), Name: steps[0].name, State: StepRetrying, Detail: fmt.Sprintf(format, args...)})
	}
	var deaf time.Time // until when the device may keep to an attempt that it lost
	for run := 1; ; run++ {
		p := &pairing{Commissioner: c, req: req, tell: progress, patience: max(0, deaf.Sub(c.Now()))}
		err := p.whole(ctx)
		wait := deaf.Sub(c.Now()) + busyMargin
		switch {
		case err == nil:
			return p.admitted, p.oper, nil
		case (codeOf(err) == CodeBusy || codeOf(err) == CodeMember) && wait > 0: // it may be a member by that very attempt
			again("the device still keeps to the attempt before; once more in %v", wait.Round(time.Second))
			if !c.sleep(ctx, wait) {
				return nil, nil, err
			}
			run-- // this one was none
		case !lostAir(err) || run == maxRuns || ctx.Err() != nil:
			return nil, nil, err
		case run == maxRuns-1:
			again("%v; attempt %d of %d, with the Bluetooth adapter begun anew", err, run+1, maxRuns)
			c.Bluetooth.Restart(err.Error())
		default:
			again("%v; attempt %d of %d", err, run+1, maxRuns)
		}
		if p.armed.After(deaf) {
			deaf = p.armed
		}
	}
}

// lostAir reports whether Bluetooth failed a pairing.
func lostAir(err error) bool {
	return errors.As(err, new(errBluetooth)) || errors.Is(err, exchange.ErrLinkLost)
}
