package portal

import "gatehouse/fabric"

// controllers are vendors of the controllers that people most often have
// beside this one, by the ids that the Connectivity Standards Alliance gave
// them. Devices say themselves who made them.
var controllers = map[uint16]string{
	0x100B: "Signify", 0x10E1: "SmartThings", 0x110A: "Samsung SmartThings", 0x115F: "Aqara", 0x117C: "IKEA of Sweden", 0x1217: "Amazon", 0x125D: "Tuya", 0x130A: "Eve",
	0x1349: "Apple Home", 0x134B: "Home Assistant", 0x1384: "Apple Keychain", 0x6006: "Google",
	0xFFF1: "Test vendor 1", 0xFFF2: "Test vendor 2", 0xFFF3: "Test vendor 3", 0xFFF4: "Test vendor 4",
}

// vendors names vendors, as far as they are known: all for no ids.
func (p *Portal) vendors(ids []uint16) map[uint16]string {
	all := make(map[uint16]string)
	for id, name := range controllers {
		all[id] = name
	}
	for _, d := range p.C.Ledger.State().Devices {
		if d.Facts.VendorName != "" && d.Phase == fabric.Admitted && all[d.Facts.VendorID] == "" {
			all[d.Facts.VendorID] = d.Facts.VendorName
		}
	}
	if ids == nil {
		return all
	}
	some := make(map[uint16]string)
	for _, id := range ids {
		if name, ok := all[id]; ok {
			some[id] = name
		}
	}
	return some
}
