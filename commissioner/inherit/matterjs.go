package inherit

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/fabric/cert"
)

// Contexts of a matter.js controller's storage. Where the authority is kept
// changed its name.
var authorityContexts = []string{"certificates", "credentials"}

const (
	fabricsContext = "fabrics"
	nodesContext   = "nodes."
	rootEndpoint   = ".endpoints.0"
)

// readMatterjs reads the storage of one matter.js server; none if the folder is
// none of a controller.
func readMatterjs(dir string) ([]*Home, error) {
	data, err := readStore(dir)
	if err != nil || data == nil {
		return nil, err
	}
	return parseMatterjs(dir, data)
}

// readStore is all values below a folder, by context and key; nil if the folder
// is no storage.
func readStore(dir string) (store, error) {
	descriptor, err := readFile(filepath.Join(dir, "driver.json"))
	var d struct{ Kind, Type string }
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return readFiles(dir)
	case err != nil:
		return nil, err
	case decode(descriptor, &d) != nil:
		return nil, problem(CodeDamaged, errors.New("driver.json"))
	case d.Type == "blob":
		return nil, nil
	case d.Kind == "wal":
		return readLog(dir)
	case d.Kind == "file":
		return readFiles(dir)
	}
	return nil, problem(CodeFormat, errors.New(text(d.Kind)))
}

// parseMatterjs makes the fabrics of a controller's storage.
func parseMatterjs(path string, data store) ([]*Home, error) {
	var homes []*Home
	for _, v := range list(data[fabricsContext]["fabrics"]) {
		root, ok := hexOctets(object(v)["rootCert"])
		if !ok {
			return nil, problem(CodeDamaged, errors.New("a fabric without its root"))
		}
		if data.authority() == nil {
			continue // of a device, which has no authority of its own
		}
		if len(homes) == maxFabrics {
			return nil, problem(CodeTooLarge, nil)
		}
		h, err := data.home(path, object(v), root)
		if err != nil {
			return nil, err
		}
		homes = append(homes, h)
	}
	return homes, nil
}

// authority is what the controller signs with; nil if it is none.
func (s store) authority() map[string]any {
	for _, context := range authorityContexts {
		if s[context]["rootCertBytes"] != nil {
			return s[context]
		}
	}
	return nil
}

func (s store) home(path string, f map[string]any, root []byte) (*Home, error) {
	id, _ := number(f["fabricId"])
	h, authority, err := newHome(Matterjs, path, root, cert.FabricID(id))
	if err != nil {
		return nil, err
	}
	controller, _ := number(f["nodeId"])
	h.setController(controller)
	h.VendorID, h.Label = uint16(small(f["rootVendorId"], 1<<16)), text(f["label"])
	key, _ := hexOctets(object(s.authority()["rootKeyPair"])["privateKey"])
	h.setRootKey(key)
	clear(key)
	ipk, _ := hexOctets(f["identityProtectionKey"])
	h.setIPK(ipk)
	clear(ipk)
	index, _ := number(f["fabricIndex"])
	for _, context := range slices.Sorted(maps.Keys(s)) {
		if peer, ok := strings.CutSuffix(context, rootEndpoint+".commissioning"); ok && strings.HasPrefix(peer, nodesContext) {
			s.addPeer(h, authority, peer, index)
		}
	}
	h.sortNodes()
	return h, nil
}

// addPeer takes a device in, if it is one of the fabric.
func (s store) addPeer(h *Home, authority *cert.Authority, peer string, fabric uint64) {
	about := s[peer+rootEndpoint+".commissioning"]
	address := object(about["peerAddress"])
	if index, ok := number(address["fabricIndex"]); address == nil || !ok || index != fabric {
		return
	}
	id, _ := number(address["nodeId"])
	n := stored{id: id, paired: milliseconds(about["commissionedAt"]), seen: milliseconds(cmp.Or(about["discoveredAt"], about["commissionedAt"])),
		get: func(cluster, attribute string) any { return s[peer+rootEndpoint+"."+cluster][attribute] }}
	for context, values := range s {
		if strings.HasPrefix(context, peer+".endpoints.") && strings.HasSuffix(context, ".30") {
			n.bindings += len(list(values["0"]))
		}
	}
	h.addNode(authority, matterjsDialect, n)
}

// milliseconds is a time since 1970; zero if it is none.
func milliseconds(v any) time.Time {
	if ms := small(v, 1<<52); ms != 0 {
		return time.UnixMilli(int64(ms)).UTC()
	}
	return time.Time{}
}
