package hass

import (
	"strconv"
	"strings"

	"gatehouse/commissioner/matter/interaction"
)

// pattern is an attribute path of a client's: nil parts are wildcards.
type pattern struct {
	endpoint  *interaction.EndpointID
	cluster   *interaction.ClusterID
	attribute *interaction.AttributeID
}

// parsePattern reads "endpoint/cluster/attribute" in decimal. A part that is
// no number at all is a wildcard.
func parsePattern(s string) (p pattern, err error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return p, fail(InvalidArguments, "attribute path %q is not endpoint/cluster/attribute", s)
	}
	number := func(part string, bits int) *uint64 {
		if strings.Trim(part, "0123456789") != "" || part == "" {
			return nil
		}
		n, e := strconv.ParseUint(part, 10, bits)
		if e != nil {
			err = fail(InvalidArguments, "attribute path %q: %s has more than %d bits", s, part, bits)
		}
		return &n
	}
	if n := number(parts[0], 16); n != nil {
		v := interaction.EndpointID(*n)
		p.endpoint = &v
	}
	if n := number(parts[1], 32); n != nil {
		v := interaction.ClusterID(*n)
		p.cluster = &v
	}
	if n := number(parts[2], 32); n != nil {
		v := interaction.AttributeID(*n)
		p.attribute = &v
	}
	return p, err
}

// path is a pattern without wildcards.
func (p pattern) path() (Path, bool) {
	if p.endpoint == nil || p.cluster == nil || p.attribute == nil {
		return Path{}, false
	}
	return Path{*p.endpoint, *p.cluster, *p.attribute}, true
}

func (p pattern) matches(x Path) bool {
	return (p.endpoint == nil || *p.endpoint == x.Endpoint) && (p.cluster == nil || *p.cluster == x.Cluster) && (p.attribute == nil || *p.attribute == x.Attribute)
}

// firstGlobal is the lowest attribute that a path may name in all clusters.
const firstGlobal interaction.AttributeID = 0xf000

// expand makes paths of a pattern that a device takes. Matter has no wildcard
// for a cluster where the attribute is one of a cluster's own: then it is those
// that the node is known to have.
func (p pattern) expand(n *Node) (paths []interaction.AttributePath) {
	if p.cluster != nil || p.attribute == nil || *p.attribute >= firstGlobal {
		return []interaction.AttributePath{{Endpoint: p.endpoint, Cluster: p.cluster, Attribute: p.attribute}}
	}
	for _, a := range n.Attributes {
		if p.matches(a.Path) {
			paths = append(paths, interaction.Attribute(a.Path.Endpoint, a.Path.Cluster, a.Path.Attribute))
		}
	}
	return paths
}
