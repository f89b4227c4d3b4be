package commissioner

import (
	"context"
	"os"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/seal"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/thread"
)

// routersListen is how long border routers may take to show themselves. They
// answer at once, unless a packet is lost.
const routersListen = 1500 * time.Millisecond

// HostRoutes are the routes of the machine this runs on.
func HostRoutes() ([]thread.Route, error) {
	f, err := os.Open(thread.RoutesFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return thread.ParseRoutes(f)
}

// NetworkHealth finds what keeps devices of a network from being reached from
// here, as far as that can be known without one: nothing of Wi-Fi.
func (c *Commissioner) NetworkHealth(ctx context.Context, n *fabric.Network) ([]Reason, error) {
	if n.Kind != fabric.Thread {
		return nil, nil
	}
	secret, err := c.Authority.OpenNetwork(ctx, n)
	if err != nil {
		return nil, Explain(err, CodeIssue)
	}
	defer secret.Erase()
	findings, _, err := c.meshHealth(ctx, secret)
	return findings, err
}

// meshHealth is that of a Thread network, given its dataset. blocks says that
// no device could be admitted.
func (c *Commissioner) meshHealth(ctx context.Context, secret seal.Secret) (findings []Reason, blocks bool, err error) {
	raw := secret.Reveal()
	defer clear(raw)
	d, err := thread.Parse(raw)
	if err != nil {
		return nil, true, Fail(CodeNetworkRefused, err)
	}
	routes, err := c.Routes()
	if err != nil {
		c.Log.Warn("the routes of this machine cannot be read", "err", err)
	}
	ctx, cancel := context.WithTimeout(ctx, routersListen)
	defer cancel()
	routers := make(map[string]radio.Advertisement)
	for e := range c.Discovery.Browse(ctx, dnssd.BorderRouters()) {
		if delete(routers, e.Advertisement.Instance); e.Change != dnssd.Removed {
			routers[e.Advertisement.Instance] = e.Advertisement
		}
	}
	var list []radio.Advertisement
	for _, r := range routers {
		list = append(list, r)
	}
	for _, f := range thread.Check(d, list, routes) {
		findings = append(findings, Reason{string(f.Code), f.Message, f.Remedy})
		blocks = blocks || f.Blocks
	}
	return findings, blocks, nil
}

// checkMesh refuses a Thread network that no device could be reached in,
// before anything is committed.
func (p *pairing) checkMesh(ctx context.Context) error {
	if p.joining == nil || p.joining.network.Kind != fabric.Thread {
		return nil
	}
	findings, blocks, err := p.meshHealth(ctx, p.joining.secret)
	if err != nil || !blocks {
		return err
	}
	f := Fail(CodeNoBorderRouter, nil)
	f.Reasons = findings
	f.Message, f.Remedy = f.Message+": "+findings[0].Message, findings[0].Remedy
	return f
}
