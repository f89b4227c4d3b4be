// Package policy turns zones and roles into what devices enforce: the CATs in
// certificates and the entries of access control lists (Matter Core 6.6, 9.10).
//
// It promises that the gateways' administrator entry is always the first, so
// that no list it makes can lock them out. It is pure, and knows neither the
// wire nor the trust state.
package policy

import (
	"slices"

	"gatehouse/fabric/cert"
)

// Privilege is what an entry grants.
type Privilege uint8

const (
	Operate    Privilege = 3
	Administer Privilege = 5
)

// Entry grants the holders of a CAT a privilege on the whole device.
type Entry struct {
	Privilege Privilege
	Subject   cert.CAT
}

// ACL is the access control list of a device in a zone: gateways administer,
// members of the zone operate.
func ACL(gateways, zone cert.CAT) []Entry {
	return []Entry{{Administer, gateways}, {Operate, zone}}
}

// Quarantine is the access control list of a device in quarantine: only
// gateways reach it.
func Quarantine(gateways cert.CAT) []Entry { return []Entry{{Administer, gateways}} }

// DeviceCATs are the tags in the certificate of a device in a zone.
func DeviceCATs(zone cert.CAT) []cert.CAT { return []cert.CAT{zone} }

// Diff is what a list lacks and what it has too much.
func Diff(want, have []Entry) (missing, extra []Entry) {
	for _, w := range want {
		if !slices.Contains(have, w) {
			missing = append(missing, w)
		}
	}
	for _, h := range have {
		if !slices.Contains(want, h) {
			extra = append(extra, h)
		}
	}
	return missing, extra
}
