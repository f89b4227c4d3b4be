package inherit

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/tlv"
)

// chipFile is the key-value store of the Matter SDK's Python controller.
const chipFile = "chip.json"

// Keys of the store: fabrics by their index in hex, authorities by a number.
var (
	fabricKey    = regexp.MustCompile(`^f/([0-9a-f]{1,2})/r$`)
	authorityKey = regexp.MustCompile(`^ExampleOpCredsCAKey[0-9]{1,9}$`)
)

// Form of a key pair as the SDK writes one: public key, then private key.
const (
	publicLength = len(cert.PublicKey{})
	pairLength   = publicLength + 32
)

// chipMetadata is f/…/m.
type chipMetadata struct {
	VendorID uint16 `tlv:"0"`
	Label    string `tlv:"1"`
}

// chipKeySet is f/…/k/0: what is derived from the IPK, not the epoch key.
type chipKeySet struct {
	Policy uint8     `tlv:"1"`
	Used   uint8     `tlv:"2"`
	Keys   []chipKey `tlv:"3"`
	Next   uint16    `tlv:"7"`
}

type chipKey struct {
	Start uint64                    `tlv:"4"`
	Hash  uint16                    `tlv:"5"`
	Key   [cert.GroupKeyLength]byte `tlv:"6"`
}

// readChip reads the storage of python-matter-server.
func readChip(dir string) ([]*Home, error) {
	path := filepath.Join(dir, chipFile)
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parseChip(path, data, func(name string) ([]byte, error) { return readFile(filepath.Join(dir, name)) })
}

// parseChip makes the fabrics of a chip.json; file reads others beside it.
func parseChip(path string, data []byte, file func(name string) ([]byte, error)) ([]*Home, error) {
	var config struct {
		SDK map[string]any `json:"sdk-config"`
	}
	if err := decode(data, &config); err != nil {
		return nil, problem(CodeDamaged, fmt.Errorf("%s: %w", chipFile, err))
	}
	store := chipStore(config.SDK)
	var homes []*Home
	for _, key := range slices.Sorted(maps.Keys(store)) {
		index := fabricKey.FindStringSubmatch(key)
		if index == nil {
			continue
		}
		if len(homes) == maxFabrics {
			return nil, problem(CodeTooLarge, nil)
		}
		h, err := store.home(path, "f/"+index[1]+"/", file)
		if err != nil {
			return nil, err
		}
		homes = append(homes, h)
	}
	if len(homes) == 0 {
		return nil, problem(CodeNothing, fmt.Errorf("%s has no fabric", chipFile))
	}
	return homes, nil
}

type chipStore map[string]any

func (s chipStore) octets(key string) []byte {
	b, _ := base64Octets(s[key])
	return b
}

// home is the fabric whose keys begin with prefix.
func (s chipStore) home(path, prefix string, file func(string) ([]byte, error)) (*Home, error) {
	noc, err := cert.Parse(s.octets(prefix + "n"))
	if err != nil {
		return nil, problem(CodeDamaged, fmt.Errorf("the controller's certificate: %w", err))
	}
	id, _ := noc.Subject.Find(cert.AttrFabricID)
	controller, _ := noc.Subject.Find(cert.AttrNodeID)
	h, authority, err := newHome(Python, path, s.octets(prefix+"r"), cert.FabricID(id))
	if err != nil {
		return nil, err
	}
	h.setController(controller)
	var about chipMetadata
	if tlv.Unmarshal(s.octets(prefix+"m"), &about) == nil {
		h.VendorID, h.Label = about.VendorID, text(about.Label)
	}
	key := s.rootKey(authority.Certificate().PublicKey)
	h.setRootKey(key)
	clear(key)
	h.setIPK(s.epochKey(prefix, h.Compressed))
	h.readPython(authority, file)
	return h, nil
}

// rootKey is the private key to a root's public one; nil if there is none.
// What is there but belongs to no certificate is of no use to tell.
func (s chipStore) rootKey(public cert.PublicKey) []byte {
	for key := range s {
		if !authorityKey.MatchString(key) {
			continue
		}
		if pair := s.octets(key); len(pair) == pairLength && bytes.Equal(pair[:publicLength], public[:]) {
			return pair[publicLength:]
		} else if k, err := x509.ParseECPrivateKey(pair); err == nil { // as older releases wrote it
			if own, err := cert.PublicKeyOf(k.Public()); err == nil && own == public {
				raw, _ := k.Bytes()
				return raw
			}
		}
	}
	return nil
}

// epochKey is the published IPK if that is what the fabric's keys come from, as
// with all that the Python server made.
// Another one cannot be told from what is stored.
func (s chipStore) epochKey(prefix string, fabric cert.CompressedFabricID) []byte {
	var set chipKeySet
	if tlv.Unmarshal(s.octets(prefix+"k/0"), &set) != nil || set.Used == 0 || len(set.Keys) == 0 {
		return nil
	}
	if issuer.PublishedKey().Operational(fabric).Reveal() != set.Keys[0].Key {
		return nil
	}
	return []byte(issuer.PublishedIPK)
}

// pythonNode is an entry of <compressed fabric id>.json.
type pythonNode struct {
	ID         any            `json:"node_id"`
	Paired     string         `json:"date_commissioned"`
	Seen       string         `json:"last_interview"`
	Attributes map[string]any `json:"attributes"` // by endpoint/cluster/attribute
}

// readPython reads the devices, from the backup that the server keeps if need
// be.
func (h *Home) readPython(authority *cert.Authority, file func(string) ([]byte, error)) {
	name := strconv.FormatUint(uint64(h.Compressed), 10) + ".json"
	var last error
	for _, name := range []string{name, name + ".backup"} {
		data, err := file(name)
		if errors.Is(err, fs.ErrNotExist) {
			last = cmp.Or(last, error(problem(CodeNoNodes, nil)))
			continue
		}
		var contents struct {
			Nodes map[string]*pythonNode `json:"nodes"`
		}
		if err == nil {
			err = decode(data, &contents)
		}
		if err == nil && contents.Nodes == nil {
			err = errFormat
		}
		if err != nil {
			last = problem(CodeNoNodes, fmt.Errorf("%s: %w", name, err))
			continue
		}
		if last != nil {
			h.Problems = append(h.Problems, note(CodeNodesBackup, ""))
		}
		for _, n := range contents.Nodes {
			h.addPython(authority, n)
		}
		h.sortNodes()
		return
	}
	var p *Problem
	if errors.As(last, &p) {
		h.Problems = append(h.Problems, p)
	}
}

func (h *Home) addPython(authority *cert.Authority, n *pythonNode) {
	if n == nil {
		h.Problems = append(h.Problems, note(CodeNode, ""))
		return
	}
	id, _ := number(n.ID)
	s := stored{id: id, paired: pythonTime(n.Paired), seen: pythonTime(n.Seen),
		get: func(cluster, attribute string) any { return n.Attributes["0/"+cluster+"/"+attribute] }}
	for key, v := range n.Attributes {
		if strings.HasSuffix(key, "/30/0") {
			s.bindings += len(list(v))
		}
	}
	h.addNode(authority, pythonDialect, s)
}

// pythonTime reads a time as Python writes one of UTC.
func pythonTime(t string) time.Time {
	for _, layout := range []string{"2006-01-02T15:04:05.999999", time.RFC3339Nano} {
		if at, err := time.Parse(layout, t); err == nil {
			return at
		}
	}
	return time.Time{}
}
