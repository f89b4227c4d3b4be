package inherit

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// newHome checks what a fabric rests on. A fabric whose root is unusable has no
// id of its own, and so cannot be told from another: it is an error.
func newHome(source Source, path string, root []byte, id cert.FabricID) (*Home, *cert.Authority, error) {
	c, err := cert.Parse(root)
	if err != nil {
		return nil, nil, problem(CodeRoot, err)
	}
	authority, err := cert.NewRoot(c)
	if err != nil {
		return nil, nil, problem(CodeRoot, err)
	}
	if of, ok := c.Subject.Find(cert.AttrFabricID); !id.Valid() || ok && of != uint64(id) {
		return nil, nil, problem(CodeRoot, errFormat)
	}
	return &Home{Source: source, Path: path, FabricID: id, Root: root, Compressed: cert.CompressFabric(c.PublicKey, id)}, authority, nil
}

// setRootKey takes the root's private key, 32 octets, if it is the root's.
func (h *Home) setRootKey(raw []byte) {
	if raw == nil {
		h.Problems = append(h.Problems, problem(CodeNoKey, nil))
		return
	}
	key, err := issuer.ParsePrivateKey(raw)
	c, parsed := cert.Parse(h.Root)
	if err != nil || parsed != nil || key.PublicKey() != c.PublicKey {
		key.Erase()
		h.Problems = append(h.Problems, problem(CodeOtherKey, nil))
		return
	}
	h.RootKey = key
}

// setIPK takes the epoch key if it is there.
func (h *Home) setIPK(raw []byte) {
	if len(raw) != cert.GroupKeyLength {
		h.Problems = append(h.Problems, problem(CodeIPK, nil))
		return
	}
	h.IPK = cert.NewEpochKey([cert.GroupKeyLength]byte(raw))
	h.Published = string(raw) == issuer.PublishedIPK
}

// setController takes the old controller's node id.
func (h *Home) setController(n uint64) {
	if h.Controller = cert.NodeID(n); !h.Controller.Operational() {
		h.Controller = 0
		h.Problems = append(h.Problems, problem(CodeNoController, nil))
	}
}

// dialect is how a server writes what devices said.
type dialect struct {
	octets                      func(any) ([]byte, bool)
	noc, icac, fabric, subjects string // fields of structures
}

var (
	pythonDialect   = dialect{octets: base64Octets, noc: "1", icac: "2", fabric: "254", subjects: "3"}
	matterjsDialect = dialect{octets: hexOctets, noc: "noc", icac: "icac", fabric: "fabricIndex", subjects: "subjects"}
)

// stored is what a server kept of a device.
type stored struct {
	id           uint64
	get          func(cluster, attribute string) any // of the root endpoint
	bindings     int
	paired, seen time.Time
}

// addNode takes a device in. Whatever else is wrong with it, its id must do.
func (h *Home) addNode(authority *cert.Authority, d dialect, s stored) {
	id := cert.NodeID(s.id)
	if !id.Operational() || id == h.Controller || slices.ContainsFunc(h.Nodes, func(n *Node) bool { return n.ID == id }) {
		h.Problems = append(h.Problems, note(CodeNode, "device %v", id))
		return
	}
	basic := func(attribute string) any { return s.get("40", attribute) }
	n := &Node{ID: id, Paired: s.paired, Seen: s.seen, Bindings: s.bindings, Facts: fabric.Facts{
		VendorID: uint16(small(basic("2"), 1<<16)), ProductID: uint16(small(basic("4"), 1<<16)),
		VendorName: text(basic("1")), ProductName: text(basic("3")), SerialNumber: text(basic("15")), UniqueID: text(basic("18")),
		HardwareVersion: uint16(small(basic("7"), 1<<16)), SoftwareVersion: uint32(small(basic("9"), 1<<32)), SoftwareString: text(basic("10"))}}
	n.Name = cmp.Or(text(basic("5")), n.ProductName)
	here, known := number(s.get("62", "5"))
	ours := func(v any) bool { // an entry of a list that has entries of all fabrics
		index, ok := number(object(v)[d.fabric])
		return object(v) != nil && (!known || !ok || index == here)
	}
	n.Fabrics = int(small(s.get("62", "3"), 255))
	for _, v := range list(s.get("63", "0")) {
		if ours(v) {
			n.Groups++
		}
	}
	for _, v := range list(s.get("31", "0")) {
		subjects := list(object(v)[d.subjects])
		if only, ok := number(first(subjects)); ours(v) && (len(subjects) != 1 || !ok || only != uint64(h.Controller)) {
			n.Access++
		}
	}
	for _, v := range list(s.get("62", "0")) {
		if ours(v) {
			noc, _ := d.octets(object(v)[d.noc])
			icac, _ := d.octets(object(v)[d.icac])
			n.certify(authority, h.FabricID, noc, icac)
		}
	}
	if n.PublicKey == nil {
		h.Problems = append(h.Problems, note(CodeNodeUnknown, "device %v", id))
	}
	h.Nodes = append(h.Nodes, n)
}

func first(l []any) any {
	if len(l) == 0 {
		return nil
	}
	return l[0]
}

// certify takes the device's certificate, if the root vouches for it.
func (n *Node) certify(root *cert.Authority, f cert.FabricID, noc, icac []byte) {
	node, err := root.Verify(noc, icac, cert.AnyTime)
	if err != nil || node.NodeID != n.ID || node.FabricID != f {
		return
	}
	c, err := cert.Parse(noc)
	if err != nil {
		return
	}
	hash := sha256.Sum256(noc)
	n.Serial, n.NOCHash, n.PublicKey = c.Serial, hash[:], node.PublicKey[:]
}

// sortNodes brings the devices in order, and holds them to the limit.
func (h *Home) sortNodes() {
	slices.SortFunc(h.Nodes, func(a, b *Node) int { return cmp.Compare(a.ID, b.ID) })
	if len(h.Nodes) > maxNodes {
		h.Problems = append(h.Problems, problem(CodeNodesFull, nil))
	}
}
