package fabric

import (
	"fmt"
	"maps"

	"gatehouse/fabric/cert"
)

func (s *State) addZone(c *AddZone) error {
	switch {
	case c.Name == "" || len(c.Name) > MaxText:
		return refuse(CodeInvalid, "a zone needs a name of at most 256 octets")
	case s.Zones[c.Name] != nil:
		return refuse(CodeExists, fmt.Sprintf("there is a zone %q already", c.Name))
	case len(s.Zones) >= MaxZones:
		return refuse(CodeFull, fmt.Sprintf("the home has %d zones", len(s.Zones)))
	}
	s.Zones = maps.Clone(s.Zones)
	s.Zones[c.Name] = &Zone{Name: c.Name, CAT: cert.NewCAT(zoneCATBase+uint16(len(s.Zones)), 1)}
	return nil
}

// zoneCATBase is the first zone's CAT identifier; the gateways' is below it,
// and 0xFFFE and 0xFFFF belong to joint fabrics.
const zoneCATBase = 0x1000
