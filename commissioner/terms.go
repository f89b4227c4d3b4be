package commissioner

import (
	"context"
	"sync"

	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// standIns are who this gateway is to devices that were taken over from another
// controller and have not been seen on the home's own terms. Each belongs to one
// identity of the gateway's: a certificate that is renewed has others.
type standIns struct {
	mu sync.Mutex
	of map[*securechannel.Identity]*standIn
}

type standIn struct {
	published *securechannel.Identity // with the published IPK
	foreign   *securechannel.Identity // as the controller of before
}

// Published is an identity with the IPK that is printed in the Matter SDK's
// source.
func Published(id *securechannel.Identity) *securechannel.Identity {
	published := *id
	published.IPK = issuer.PublishedKey().Operational(cert.CompressFabric(id.Root.Certificate().PublicKey, id.Fabric))
	return &published
}

// onTerms is who this gateway is to a device, where it is own to all others on
// that fabric. The same question has the same answer, as long as own is.
func (c *Commissioner) onTerms(ctx context.Context, s *fabric.State, d *fabric.Device, own *securechannel.Identity) (*securechannel.Identity, error) {
	if d == nil || s.Import == nil || d.Terms == fabric.HomeTerms || d.Terms == fabric.RotatingTerms {
		return own, nil
	}
	c.standIns.mu.Lock()
	defer c.standIns.mu.Unlock()
	in := c.standIns.of[own]
	if in == nil {
		in = &standIn{published: own}
		if s.Import.Published {
			in.published = Published(own)
		}
		kept := map[*securechannel.Identity]*standIn{own: in}
		for _, id := range c.identities() {
			if was := c.standIns.of[id]; was != nil {
				kept[id] = was
			}
		}
		c.standIns.of = kept
	}
	if d.Terms != fabric.ForeignTerms {
		return in.published, nil
	}
	if in.foreign == nil {
		key, err := cert.PublicKeyOf(own.Key.Public())
		if err != nil {
			return nil, Fail(CodeInternal, err)
		}
		noc, icac, err := c.Authority.Issue(ctx, s.Import.Controller, key)
		if err != nil {
			return nil, Explain(err, CodeIssue)
		}
		foreign := *in.published
		foreign.Node, foreign.NOC, foreign.ICAC = s.Import.Controller, noc, icac
		in.foreign = &foreign
	}
	return in.foreign, nil
}
