package inherittest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/tlv"
)

type object = map[string]any

// pair is a key pair as the SDK writes it.
func pair(k issuer.PrivateKey) []byte {
	public := k.PublicKey()
	return append(public[:], k.Reveal()...)
}

// Chip is the contents of chip.json's sdk-config, by key; change it before it
// is written.
func (f *Fabric) Chip(t testing.TB) map[string][]byte {
	t.Helper()
	marshal := func(v any) []byte {
		b, err := tlv.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	type entry struct {
		Start uint64                    `tlv:"4"`
		Hash  uint16                    `tlv:"5"`
		Key   [cert.GroupKeyLength]byte `tlv:"6"`
	}
	type keySet struct {
		Policy uint8   `tlv:"1"`
		Used   uint8   `tlv:"2"`
		Keys   []entry `tlv:"3"`
		Next   uint16  `tlv:"7"`
	}
	type metadata struct {
		VendorID uint16 `tlv:"0"`
		Label    string `tlv:"1"`
	}
	derived := cert.NewEpochKey(f.IPK).Operational(f.Compressed()).Reveal()
	store := map[string][]byte{"f/1/n": f.NOC, "f/1/r": f.Root, "f/1/m": marshal(&metadata{f.VendorID, ""}),
		"f/1/k/0":              marshal(&keySet{Used: 1, Keys: []entry{{Key: derived}, {}, {}}, Next: 0xFFFF}),
		"ExampleOpCredsCAKey1": pair(f.RootKey), "ExampleOpCredsICAKey1": pair(f.ICACKey)}
	if f.ICAC != nil {
		store["f/1/i"] = f.ICAC
	}
	return store
}

// WritePython writes the fabric as python-matter-server does.
func (f *Fabric) WritePython(t testing.TB, dir string, store map[string][]byte) {
	t.Helper()
	config := object{"repl-config": object{"caList": object{"1": []any{object{"fabricId": uint64(f.ID), "vendorId": f.VendorID}}}}, "sdk-config": store}
	write(t, filepath.Join(dir, "chip.json"), config)
	nodes := object{}
	for _, n := range f.Nodes {
		access := []any{object{"1": 5, "2": 2, "3": []uint64{Controller}, "4": nil, "254": 1}}
		for _, s := range n.Subjects {
			access = append(access, object{"1": 3, "2": 2, "3": []uint64{s}, "4": nil, "254": 1})
		}
		noc := object{"1": n.NOC, "2": f.ICAC, "254": 1}
		attributes := object{"0/40/1": "Vendor", "0/40/2": 0xFFF1, "0/40/3": "Lamp", "0/40/4": 0x8001, "0/40/5": n.Name, "0/40/15": fmt.Sprint("S", n.ID),
			"0/62/0": []any{noc}, "0/62/3": n.Fabrics, "0/62/5": 1, "0/31/0": access, "0/63/0": filled(n.Groups), "1/30/0": filled(n.Bindings)}
		nodes[strconv.FormatUint(n.ID, 10)] = object{"node_id": n.ID, "date_commissioned": "2024-03-01T10:00:00.123456", "last_interview": "2026-01-02T03:04:05.678901",
			"interview_version": 6, "available": true, "is_bridge": false, "attributes": attributes, "attribute_subscriptions": []any{}}
	}
	write(t, filepath.Join(dir, strconv.FormatUint(uint64(f.Compressed()), 10)+".json"), object{"vendor_info": object{}, "last_node_id": len(f.Nodes), "nodes": nodes})
}

func filled(n int) []any {
	entries := make([]any, n)
	for i := range entries {
		entries[i] = object{"1": i + 1, "254": 1, "fabricIndex": 1}
	}
	return entries
}

// bigint and octets are how matter.js writes what JSON has no form for.
func bigint(n uint64) string { return fmt.Sprintf(`{"__object__":"BigInt","__value__":"%d"}`, n) }

func octets(b []byte) any {
	if b == nil {
		return `{"__object__":"Undefined"}`
	}
	return fmt.Sprintf(`{"__object__":"Uint8Array","__value__":"%s"}`, hex.EncodeToString(b))
}

// Matterjs is what a matter.js controller stores, by context and key.
func (f *Fabric) Matterjs() map[string]map[string]any {
	public := f.RootKey.PublicKey()
	keys := object{"publicKey": octets(public[:]), "privateKey": octets(f.RootKey.Reveal())}
	data := map[string]map[string]any{
		"certificates": {"rootCertId": bigint(0), "rootKeyPair": keys, "rootKeyIdentifier": octets(nil), "rootCertBytes": octets(f.Root), "nextCertificateId": bigint(3)},
		"fabrics": {"nextFabricIndex": 2, "fabrics": []any{object{"fabricIndex": 1, "fabricId": bigint(uint64(f.ID)), "nodeId": bigint(Controller), "rootNodeId": bigint(Controller),
			"rootVendorId": f.VendorID, "rootCert": octets(f.Root), "identityProtectionKey": octets(f.IPK[:]), "intermediateCACert": octets(f.ICAC), "label": "HomeAssistant"}}},
	}
	for i, n := range f.Nodes {
		at := fmt.Sprintf("nodes.peer%d.endpoints.", i+1)
		access := []any{object{"privilege": 5, "authMode": 2, "subjects": []any{bigint(Controller)}, "targets": nil, "fabricIndex": 1}}
		for _, s := range n.Subjects {
			access = append(access, object{"privilege": 3, "authMode": 2, "subjects": []any{bigint(s)}, "targets": nil, "fabricIndex": 1})
		}
		data[at+"0.commissioning"] = object{"peerAddress": object{"fabricIndex": 1, "nodeId": bigint(n.ID)}, "commissionedAt": 1709287200123, "discoveredAt": 1767323045678}
		data[at+"0.40"] = object{"1": "Vendor", "2": 0xFFF1, "3": "Lamp", "4": 0x8001, "5": n.Name, "15": fmt.Sprint("S", n.ID), "__version__": 1}
		data[at+"0.62"] = object{"0": []any{object{"noc": octets(n.NOC), "icac": octets(f.ICAC), "fabricIndex": 1}}, "3": n.Fabrics, "5": 1}
		data[at+"0.31"] = object{"0": access}
		data[at+"0.63"] = object{"0": filled(n.Groups)}
		data[at+"1.30"] = object{"0": filled(n.Bindings)}
	}
	return data
}

// WriteLog writes the data as matter.js's wal driver does: the contexts up to
// half in a snapshot, the others in the log after it.
func WriteLog(t testing.TB, dir string, data map[string]map[string]any) {
	t.Helper()
	contexts := slices.Sorted(maps.Keys(data))
	snapshot := object{}
	var lines bytes.Buffer
	for i, c := range contexts {
		values := data[c]
		if i < len(contexts)/2 {
			snapshot[c], values = values, object{"of before": "the snapshot"}
		}
		lines.Write(encode(t, object{"ts": 1, "ops": []any{object{"op": "upd", "key": c, "values": values}}}))
		lines.WriteByte('\n')
	}
	write(t, filepath.Join(dir, "driver.json"), object{"kind": "wal", "type": "kv"})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(encode(t, object{"commitId": object{"segment": 1, "offset": len(contexts)/2 - 1}, "ts": 1, "data": snapshot}))
	z.Close()
	writeFile(t, filepath.Join(dir, "snapshot.json.gz"), packed.Bytes())
	writeFile(t, filepath.Join(dir, "wal", "00000001.jsonl"), lines.Bytes())
}

// WriteFiles writes the data as matter.js's file driver does.
func WriteFiles(t testing.TB, dir string, data map[string]map[string]any) {
	t.Helper()
	for c, values := range data {
		for k, v := range values {
			write(t, filepath.Join(dir, c+"."+k), v)
		}
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, v any) { t.Helper(); writeFile(t, path, encode(t, v)) }

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Secrets are octets of the fabric's that must show up nowhere, in every form.
func (f *Fabric) Secrets() (forms []string) {
	for _, b := range [][]byte{f.RootKey.Reveal(), f.ICACKey.Reveal(), f.IPK[:]} {
		forms = append(forms, string(b), hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b)[:40*len(b)/48], fmt.Sprint(b), binaryText(b))
	}
	return forms
}

func binaryText(b []byte) string { return fmt.Sprintf("%X", binary.BigEndian.Uint64(b)) }
