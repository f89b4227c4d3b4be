package inherit

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse/commissioner/inherit/inherittest"
	"gatehouse/fabric/cert"
)

// lived is a fabric with two devices, one of which does more.
func lived(t testing.TB, intermediate bool) *inherittest.Fabric {
	f := inherittest.New(t, intermediate)
	f.Add(t, 7, "")
	n := f.Add(t, 3, "Desk")
	n.Fabrics, n.Groups, n.Bindings, n.Subjects = 3, 2, 1, []uint64{7, 9}
	return f
}

var writers = map[string]func(testing.TB, *inherittest.Fabric, string){
	"python": func(t testing.TB, f *inherittest.Fabric, dir string) { f.WritePython(t, dir, f.Chip(t)) },
	"log": func(t testing.TB, f *inherittest.Fabric, dir string) {
		inherittest.WriteLog(t, filepath.Join(dir, "server-2-134b"), f.Matterjs())
	},
	"files": func(t testing.TB, f *inherittest.Fabric, dir string) {
		inherittest.WriteFiles(t, filepath.Join(dir, "server"), f.Matterjs())
	},
	"old contexts": func(t testing.TB, f *inherittest.Fabric, dir string) {
		data := f.Matterjs()
		data["credentials"] = data["certificates"]
		delete(data, "certificates")
		inherittest.WriteFiles(t, dir, data)
	},
}

func TestRead(t *testing.T) {
	for name, write := range writers {
		for _, intermediate := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s intermediate %v", name, intermediate), func(t *testing.T) {
				f, dir := lived(t, intermediate), t.TempDir()
				write(t, f, dir)
				homes, err := Read(dir)
				if err != nil || len(homes) != 1 {
					t.Fatal(homes, err)
				}
				h := homes[0]
				defer h.Erase()
				if err := h.Usable(); err != nil || len(h.Problems) > 0 {
					t.Fatal(err, h.Problems)
				}
				if h.FabricID != f.ID || h.Compressed != f.Compressed() || h.VendorID != 0x134B || h.Controller != inherittest.Controller || !bytes.Equal(h.Root, f.Root) ||
					h.RootKey.PublicKey() != f.RootKey.PublicKey() || !bytes.Equal(h.RootKey.Reveal(), f.RootKey.Reveal()) || h.IPK.Reveal() != f.IPK || !h.Published {
					t.Errorf("%+v", h)
				}
				if len(h.Nodes) != 2 {
					t.Fatal(h.Nodes)
				}
				n := h.Nodes[0]
				c, _ := cert.Parse(f.Nodes[1].NOC)
				if n.ID != 3 || n.Name != "Desk" || n.VendorID != 0xFFF1 || n.ProductID != 0x8001 || n.SerialNumber != "S3" || n.Fabrics != 3 || n.Groups != 2 ||
					n.Bindings != 1 || n.Access != 2 || !bytes.Equal(n.PublicKey, c.PublicKey[:]) || !bytes.Equal(n.Serial, []byte{1}) || len(n.NOCHash) != 32 ||
					n.Paired.Year() != 2024 || n.Seen.Year() != 2026 {
					t.Errorf("%+v", n)
				}
				if other := h.Nodes[1]; other.ID != 7 || other.Name != "Lamp" || other.Fabrics != 1 || other.Groups+other.Bindings+other.Access != 0 {
					t.Errorf("%+v", other)
				}
				for _, secret := range f.Secrets() {
					if said := fmt.Sprintf("%v %+v %#v %s", h, *h, *h, h.Problems); strings.Contains(said, secret) {
						t.Errorf("it says %q", secret)
					}
				}
			})
		}
	}
}

// TestOwnIPK has a home whose key was drawn for it alone.
func TestOwnIPK(t *testing.T) {
	f, dir := lived(t, false), t.TempDir()
	copy(f.IPK[:], "a key of our own")
	inherittest.WriteLog(t, dir, f.Matterjs())
	homes, err := Read(dir)
	if err != nil || homes[0].Published || homes[0].IPK.Reveal() != f.IPK {
		t.Error(homes, err)
	}
	python := t.TempDir()
	f.WritePython(t, python, f.Chip(t))
	if homes, err := Read(python); err != nil || codes(homes[0])[0] != CodeIPK || homes[0].Usable() == nil {
		t.Error("an IPK that is derived from nobody knows what:", homes, err)
	}
}

func codes(h *Home) (codes []Code) {
	for _, p := range h.Problems {
		codes = append(codes, p.Code)
	}
	return codes
}

// TestNewer has both servers' storages of one fabric, as in an add-on that was
// updated: matter.js's is the one that went on.
func TestNewer(t *testing.T) {
	f, dir := lived(t, true), t.TempDir()
	f.WritePython(t, dir, f.Chip(t))
	f.Add(t, 12, "paired since")
	inherittest.WriteLog(t, filepath.Join(dir, "server"), f.Matterjs())
	homes, err := Read(dir)
	if err != nil || len(homes) != 1 || homes[0].Source != Matterjs || len(homes[0].Nodes) != 3 {
		t.Fatal(homes, err)
	}
	other := inherittest.New(t, false)
	inherittest.WriteLog(t, filepath.Join(dir, "server-9-1"), other.Matterjs())
	if homes, err = Read(dir); err != nil || len(homes) != 2 {
		t.Fatal(homes, err)
	}
	if _, err := Choose(homes, 0); codeOf(err) != CodeSeveral {
		t.Error(err)
	}
	if h, err := Choose(homes, other.Compressed()); err != nil || h.Compressed != other.Compressed() {
		t.Error(h, err)
	}
	if _, err := Choose(homes, 1); codeOf(err) != CodeNoFabric {
		t.Error(err)
	}
}

func codeOf(err error) Code {
	var p *Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// TestFaults has one thing wrong with a storage at a time.
func TestFaults(t *testing.T) {
	nodesFile := func(f *inherittest.Fabric) string { return strconv.FormatUint(uint64(f.Compressed()), 10) + ".json" }
	python := func(change func(map[string][]byte)) func(*testing.T, *inherittest.Fabric, string) {
		return func(t *testing.T, f *inherittest.Fabric, dir string) {
			store := f.Chip(t)
			change(store)
			f.WritePython(t, dir, store)
		}
	}
	matterjs := func(change func(map[string]map[string]any)) func(*testing.T, *inherittest.Fabric, string) {
		return func(t *testing.T, f *inherittest.Fabric, dir string) {
			data := f.Matterjs()
			change(data)
			inherittest.WriteLog(t, dir, data)
		}
	}
	put := func(name, contents string) func(*testing.T, *inherittest.Fabric, string) {
		return func(t *testing.T, f *inherittest.Fabric, dir string) {
			f.WritePython(t, dir, f.Chip(t))
			if name == "" {
				name = nodesFile(f)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	stranger := inherittest.New(t, true)
	for _, test := range []struct {
		name   string
		write  func(*testing.T, *inherittest.Fabric, string)
		refuse Code   // by Read
		codes  []Code // of the home
		nodes  int
	}{
		{"nothing", func(*testing.T, *inherittest.Fabric, string) {}, CodeNothing, nil, 0},
		{"chip.json emptied by a power cut", put("chip.json", ""), CodeDamaged, nil, 0},
		{"chip.json cut off", put("chip.json", `{"sdk-config": {"f/1/r": "`), CodeDamaged, nil, 0},
		{"chip.json without a fabric", put("chip.json", `{"sdk-config": {}}`), CodeNothing, nil, 0},
		{"no root key", python(func(s map[string][]byte) { delete(s, "ExampleOpCredsCAKey1") }), "", []Code{CodeNoKey}, 2},
		{"another root's key", python(func(s map[string][]byte) { s["ExampleOpCredsCAKey1"] = stranger.Chip(t)["ExampleOpCredsCAKey1"] }), "", []Code{CodeNoKey}, 2},
		{"half a root key", python(func(s map[string][]byte) { s["ExampleOpCredsCAKey1"] = s["ExampleOpCredsCAKey1"][:90] }), "", []Code{CodeNoKey}, 2},
		{"two authorities", python(func(s map[string][]byte) { s["ExampleOpCredsCAKey2"] = stranger.Chip(t)["ExampleOpCredsCAKey1"] }), "", nil, 2},
		{"root damaged", python(func(s map[string][]byte) { s["f/1/r"][100] ^= 1 }), CodeRoot, nil, 0},
		{"controller's certificate damaged", python(func(s map[string][]byte) { s["f/1/n"] = nil }), CodeDamaged, nil, 0},
		{"no key set", python(func(s map[string][]byte) { delete(s, "f/1/k/0") }), "", []Code{CodeIPK}, 2},
		{"no list of devices", func(t *testing.T, f *inherittest.Fabric, dir string) {
			f.WritePython(t, dir, f.Chip(t))
			os.Remove(filepath.Join(dir, nodesFile(f)))
		}, "", []Code{CodeNoNodes}, 0},
		{"list of devices emptied", put("", ""), "", []Code{CodeNoNodes}, 0},
		{"list of devices from the backup", func(t *testing.T, f *inherittest.Fabric, dir string) {
			f.WritePython(t, dir, f.Chip(t))
			name := filepath.Join(dir, nodesFile(f))
			os.Rename(name, name+".backup")
			os.WriteFile(name, []byte(`{"nodes": {"3": {"node_`), 0o600)
		}, "", []Code{CodeNodesBackup}, 2},
		{"devices damaged", put("", `{"nodes": {"1": null, "2": {"node_id": 0}, "3": {"node_id": 3}, "4": {"node_id": 3, "attributes": {"0/40/3": 7, "0/62/0": "x", "0/31/0": [null, 1]}}, "5": {"node_id": "x"}, "6": {"node_id": 112233}}}`), "",
			[]Code{CodeNode, CodeNode, CodeNode, CodeNode, CodeNode, CodeNodeUnknown}, 1},
		{"a device of another root", func(t *testing.T, f *inherittest.Fabric, dir string) {
			f.Nodes[0].NOC = stranger.Add(t, f.Nodes[0].ID, "").NOC
			f.WritePython(t, dir, f.Chip(t))
		}, "", []Code{CodeNodeUnknown}, 2},
		{"matter.js without its root key", matterjs(func(d map[string]map[string]any) { delete(d["certificates"], "rootKeyPair") }), "", []Code{CodeNoKey}, 2},
		{"matter.js with another root's key", matterjs(func(d map[string]map[string]any) {
			d["certificates"]["rootKeyPair"] = stranger.Matterjs()["certificates"]["rootKeyPair"]
		}), "", []Code{CodeOtherKey}, 2},
		{"a device of matter.js, no controller", matterjs(func(d map[string]map[string]any) { delete(d, "certificates") }), CodeNothing, nil, 0},
		{"matter.js in SQLite", put("driver.json", `{"kind": "sqlite", "type": "kv"}`), CodeFormat, nil, 0},
		{"the log cut off in its last line", func(t *testing.T, f *inherittest.Fabric, dir string) {
			inherittest.WriteLog(t, dir, f.Matterjs())
			appendTo(t, filepath.Join(dir, "wal", "00000001.jsonl"), `{"ts":1,"ops":[{"op":"del","key":""`)
		}, "", nil, 2},
		{"the log damaged before its end", func(t *testing.T, f *inherittest.Fabric, dir string) {
			inherittest.WriteLog(t, dir, f.Matterjs())
			appendTo(t, filepath.Join(dir, "wal", "00000001.jsonl"), "{\"ts\":1,\"ops\":[{\"op\":\"de\n")
		}, CodeDamaged, nil, 0},
		{"the snapshot cut off", func(t *testing.T, f *inherittest.Fabric, dir string) {
			inherittest.WriteLog(t, dir, f.Matterjs())
			os.Truncate(filepath.Join(dir, "snapshot.json.gz"), 40)
		}, CodeDamaged, nil, 0},
		{"a device removed in the log", func(t *testing.T, f *inherittest.Fabric, dir string) {
			inherittest.WriteLog(t, dir, f.Matterjs())
			appendTo(t, filepath.Join(dir, "wal", "00000001.jsonl"), `{"ts":1,"ops":[{"op":"del","key":"nodes.peer1"},{"op":"del","key":"nodes.peer2.endpoints.0.62","values":["0"]}]}`+"\n")
		}, "", []Code{CodeNodeUnknown}, 1},
		{"larger than any", func(t *testing.T, f *inherittest.Fabric, dir string) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(bytes.Repeat([]byte(" "), maxFile+2))
			z.Close()
			inherittest.WriteLog(t, dir, f.Matterjs())
			os.WriteFile(filepath.Join(dir, "snapshot.json.gz"), b.Bytes(), 0o600)
		}, CodeTooLarge, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, dir := lived(t, true), t.TempDir()
			test.write(t, f, dir)
			homes, err := Read(dir)
			if codeOf(err) != test.refuse || (err == nil) != (test.refuse == "") {
				t.Fatalf("%v: %v", codeOf(err), err)
			}
			if err != nil {
				return
			}
			h := homes[0]
			got := codes(h)
			slices.Sort(got)
			if slices.Sort(test.codes); !slices.Equal(got, test.codes) || len(h.Nodes) != test.nodes {
				t.Errorf("%v, %d devices", got, len(h.Nodes))
			}
			for _, p := range h.Problems {
				if p.Message == "" || p.Remedy == "" {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(b, text...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
