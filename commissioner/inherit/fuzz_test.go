package inherit

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"gatehouse/commissioner/inherit/inherittest"
)

// allocationLimit is what a storage of n octets may make the reader allocate.
func allocationLimit(n int) uint64 { return 1<<20 + 400*uint64(n) }

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// sound is what holds of every home that is read, whatever the files were.
func sound(t *testing.T, homes []*Home) {
	t.Helper()
	for _, h := range homes {
		if h.Usable() == nil && (h.RootKey.Reveal() == nil || !h.Controller.Operational() || h.IPK.Reveal() == [16]byte{} || len(h.Nodes) > maxNodes) {
			t.Errorf("usable: %+v", h)
		}
		for i, n := range h.Nodes {
			if !n.ID.Operational() || n.ID == h.Controller || i > 0 && h.Nodes[i-1].ID >= n.ID || (n.PublicKey == nil) != (n.NOCHash == nil) {
				t.Errorf("%+v", n)
			}
		}
	}
}

func FuzzPython(f *testing.F) {
	dir := f.TempDir()
	home := lived(f, true)
	home.WritePython(f, dir, home.Chip(f))
	chip, _ := os.ReadFile(filepath.Join(dir, chipFile))
	nodes, _ := os.ReadFile(filepath.Join(dir, strconv.FormatUint(uint64(home.Compressed()), 10)+".json"))
	f.Add(chip, nodes)
	f.Add(chip, []byte(`{"nodes": {"1": {"node_id": 1e3, "attributes": {"0/62/0": [{"1": 1}]}}}}`))
	f.Add([]byte(`{"sdk-config": {"f/1/r": "FTABAQ==", "f/1/n": 4}}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, chip, nodes []byte) {
		if n := allocated(func() {
			homes, err := parseChip(chipFile, chip, func(string) ([]byte, error) { return nodes, nil })
			if err == nil {
				sound(t, homes)
			}
		}); n > allocationLimit(len(chip)+maxFabrics*len(nodes)) {
			t.Errorf("%d octets allocated for %d and %d", n, len(chip), len(nodes))
		}
	})
}

func FuzzMatterjs(f *testing.F) {
	dir := f.TempDir()
	inherittest.WriteLog(f, dir, lived(f, false).Matterjs())
	data, err := readSnapshot(dir)
	if err != nil {
		f.Fatal(err)
	}
	lines, _ := fs.ReadFile(os.DirFS(dir), "wal/00000001.jsonl")
	f.Add(data, lines)
	f.Add([]byte(`{"commitId": {"segment": 1, "offset": 0}, "data": {"": null}}`), []byte(`{"ops":[{"op":"upd","key":"","values":{}},{"op":"del","key":""}]}`))
	f.Fuzz(func(t *testing.T, data, lines []byte) {
		if n := allocated(func() {
			s, err := parseSnapshot(data)
			if err != nil || s.replay(1, lines, true) != nil {
				return
			}
			if homes, err := parseMatterjs("", s.Data); err == nil {
				sound(t, homes)
			}
		}); n > allocationLimit(len(data)+len(lines)) {
			t.Errorf("%d octets allocated for %d and %d", n, len(data), len(lines))
		}
	})
}

// TestSpecial takes values as matter.js writes them there and back.
func TestSpecial(t *testing.T) {
	for v, want := range map[string]uint64{`{"__object__":"BigInt","__value__":"18446744073709551615"}`: 1<<64 - 1, `{"__object__":"NodeId","__value__":"7"}`: 7, `{"__object__":"FabricIndex","__value__":1}`: 1} {
		if n, ok := number(v); !ok || n != want {
			t.Error(v, n, ok)
		}
	}
	for _, v := range []any{nil, "7", `{"__object__":"BigInt","__value__":"-1"}`, `{"__object__":"BigInt"`, `{"__object__":"BigInt","__value__":"1.5"}`, 7.0, []any{}} {
		if n, ok := number(v); ok {
			t.Error(v, n)
		}
	}
	if b, ok := hexOctets(`{"__object__":"Uint8Array","__value__":"00ff"}`); !ok || string(b) != "\x00\xff" {
		t.Error(b, ok)
	}
	if text(`{"__object__":"Undefined"}`) != "" || text("Desk") != "Desk" || text(7) != "" {
		t.Error("texts")
	}
}
