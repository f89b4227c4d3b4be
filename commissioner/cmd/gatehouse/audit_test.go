package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/tlog"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// TestBook has a gateway give records that are not those it once signed.
func TestBook(t *testing.T) {
	keys, public := make([]*ecdsa.PrivateKey, 3), make([]string, 3)
	for i := range keys {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k, err := cert.PublicKeyOf(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		keys[i], public[i] = key, hex.EncodeToString(k[:])
	}
	var all [][]byte
	tree := audit.Tree{}
	var trees []audit.Tree
	for i := range uint64(20) {
		r := audit.Record{Index: i, Time: int64(i), What: "device-admitted", Name: "a"}
		switch i {
		case 0:
			r.What, r.Details = "trail-begun", audit.Object(nil).Objects("gateways", []audit.Object{audit.Object(nil).Text("name", "hall").Text("key", public[0]), audit.Object(nil).Text("name", "odd")})
		case 4:
			r.What, r.Name, r.Details = "gateway-admitted", "attic", audit.Object(nil).Text("key", public[1])
		}
		all = append(all, r.Append(nil))
		trees, tree = append(trees, tree), tree.Append(all[i])
	}
	now := portal.Checkpoint{Origin: audit.Origin(7), Gateways: []portal.AuditKey{{Name: "hall", Key: public[0]}}}
	sign := func(size, by int) []byte {
		b, err := audit.Checkpoint{Origin: audit.Origin(7), Size: uint64(size), Root: trees[size].Root()}.Sign(keys[by])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	restored := audit.Record{Index: 8, Time: 9, What: "home-restored", Details: audit.Object(nil).Number("trail", 8)}
	other := bytes.Replace(all[3], []byte(`"a"`), []byte(`"b"`), 1)
	for _, test := range []struct {
		what    string
		before  int
		records [][]byte
		signed  []byte
		want    string // of the error; else who signed
	}{
		{"all of them", 0, all, sign(19, 0), "hall"},
		{"a checkpoint of before", 0, all, sign(1, 0), "hall"},
		{"of one who has left", 0, all, sign(9, 1), "attic (no longer a gateway)"},
		{"of one whom nobody knows", 0, all, sign(9, 2), "no gateway that is known"},
		{"a record is changed", 0, append(append(slices.Clone(all[:3]), other), all[4:]...), sign(9, 0), "are not those"},
		{"but after that", 0, append(append(slices.Clone(all[:3]), other), all[4:]...), sign(3, 0), "hall"},
		{"records are gone", 0, all[:8], sign(9, 0), "taken away"},
		{"the home was restored since", 0, append(slices.Clone(all[:8]), restored.Append(nil)), sign(9, 0), "restored from a backup of 8 records"},
		{"and had more then", 0, append(slices.Clone(all[:8]), restored.Append(nil)), sign(12, 0), "restored from a backup of 8 records"},
		{"a checkpoint of before that", 0, append(slices.Clone(all[:8]), restored.Append(nil)), sign(7, 0), "hall"},
		{"the first are not kept", 6, all[6:], sign(9, 0), "hall"},
		{"those it would take", 6, all[6:], sign(5, 0), "from 6 on"},
		{"one is left out", 0, append(slices.Clone(all[:3]), all[4:]...), nil, "record 4"},
		{"no record at all", 0, [][]byte{[]byte("{}"), []byte("x")}, nil, "record"},
	} {
		b, err := newBook(now)
		if err != nil {
			t.Fatal(err)
		}
		b.leaves.Before = trees[test.before]
		for _, line := range test.records {
			if err == nil {
				err = b.add(line)
			}
		}
		var v verified
		if err == nil {
			v, err = b.check(test.signed)
		}
		switch {
		case err != nil && !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: %v", test.what, err)
		case err == nil && (len(v.Signed) != 1 || v.Signed[0] != test.want):
			t.Errorf("%s: %+v", test.what, v)
		}
	}
	if tlog.RecordHash(other) == tlog.RecordHash(all[3]) {
		t.Error("nothing was changed")
	}
	now.Gateways[0].Key = "04"
	if _, err := newBook(now); err == nil {
		t.Error("a key that is none")
	}
}

// TestReadBook fetches a trail of several pages, and from a gateway that does not
// give all it said it has.
func TestReadBook(t *testing.T) {
	const size = 2*pageRecords + 7
	for gives, want := range map[uint64]string{size: "", size + 3: "", pageRecords: "gives 1000 records", 0: "gives 0 records"} {
		g := globals{State: t.TempDir()}
		listener, err := net.Listen("unix", g.socket())
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
			from := after + 1
			if err != nil {
				from = 0
			}
			next := min(from+pageRecords, max(gives, from))
			for i := from; i < next; i++ {
				line := audit.Record{Index: i, What: "device-renamed"}
				fmt.Fprintf(w, "%s\n", line.Append(nil))
			}
			json.NewEncoder(w).Encode(portal.Audit{Size: max(gives, size), Next: next})
		})}
		go server.Serve(listener)
		b, err := newBook(portal.Checkpoint{})
		if err == nil {
			err = g.readBook(t.Context(), b, size)
		}
		if want == "" && (err != nil || b.size() != size) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("of %d: %d, %v", gives, b.size(), err)
		}
		server.Close()
	}
}

// auditProofs asks a running gateway for proofs, and checks them against each
// other and against its records.
func auditProofs(ts *testscript.TestScript, _ bool, args []string) {
	g := globals{State: args[0]}
	get := func(query string, v any) error {
		return g.call(context.Background(), "GET", "audit/proof?"+query, nil, func(line json.RawMessage) error { return json.Unmarshal(line, v) })
	}
	var record, tree portal.AuditProof
	ts.Check(get("record=3", &record))
	ts.Check(audit.CheckRecord(record.Proof, record.Size, record.Root, 3, []byte(*record.Record)))
	ts.Check(get(fmt.Sprintf("prefix=5&size=%d", record.Size), &tree))
	ts.Check(audit.CheckTree(tree.Proof, tree.Size, tree.Root, 5, *tree.Prefix))
	if tree.Root != record.Root || record.Size < 6 {
		ts.Fatalf("two roots of %d records", record.Size)
	}
	var small portal.AuditProof
	ts.Check(get("record=3&size=5", &small))
	if small.Root != *tree.Prefix || audit.CheckRecord(small.Proof, 5, small.Root, 3, []byte(*record.Record)) != nil {
		ts.Fatalf("another proof in the first 5 records")
	}
	pages := func(limit string) (all []string) {
		for q := (url.Values{"limit": {limit}}); ; {
			end, err := g.auditPage(context.Background(), q, func(line []byte) error {
				all = append(all, string(line))
				return nil
			})
			ts.Check(err)
			if end.Next == end.Size {
				return all
			}
			q.Set("after", fmt.Sprint(end.Next-1))
		}
	}
	if whole := pages("1000"); len(whole) != int(record.Size) || !slices.Equal(whole, pages("3")) || !slices.Equal(whole, pages("0")) {
		ts.Fatalf("%d records, and others in pages", len(whole))
	}
	for _, bad := range []string{"", "record=3&prefix=2", "record=99999", "prefix=0", "prefix=3&size=2", "record=3&size=3", "record=-1", "size=0&record=0", "size=99999&record=0"} {
		var f *commissioner.Failure
		if err := get(bad, &small); !errors.As(err, &f) || f.Code != commissioner.CodeInvalidArgument {
			ts.Fatalf("%q: %v", bad, err)
		}
	}
}
