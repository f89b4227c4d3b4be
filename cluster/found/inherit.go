package found

import (
	"fmt"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// Inheritance is the fabric of another controller, on which a home is founded:
// its root stays, and with that the ids by which everybody knows its devices.
type Inheritance struct {
	FabricID cert.FabricID
	Root     []byte            // RCAC, TLV
	RootKey  issuer.PrivateKey // goes into the recovery kit, and is erased
	// IPK is the fabric's epoch key; the zero value has another one drawn,
	// which devices are given when they are met.
	IPK     cert.EpochKey
	Import  fabric.Import
	Devices []fabric.Inherited
}

// fabric is what the home rests on, and since when its certificates are valid:
// the inherited one since its root is.
func (c Config) fabric(now time.Time) (*issuer.Fabric, time.Time, error) {
	i := c.Inherit
	if i == nil {
		f, err := issuer.NewFabric(c.Random, issuer.Params{Birth: now})
		return f, now, err
	}
	root, err := Root(i.Root)
	if err != nil {
		return nil, now, err
	}
	if i.Import.Published != (i.IPK.Reveal() == [cert.GroupKeyLength]byte{}) {
		return nil, now, fmt.Errorf("an inherited key is either published, and replaced, or kept")
	}
	f, err := issuer.Inherit(c.Random, i.Root, i.RootKey, i.FabricID, i.IPK)
	return f, root.Certificate().NotBefore.Time(), err
}
