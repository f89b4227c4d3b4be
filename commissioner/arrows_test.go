package commissioner_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// forbidden are the arrows that must not be: whatever is below from imports
// nothing below to, not even by way of others.
var forbidden = []struct{ from, to, why string }{
	{"fabric", "radio", "trust is values: it knows no network"},
	{"fabric", "cluster", "the trust state does not know who replicates it"},
	{"fabric", "firmware", "firmware rests on trust, not the other way round"},
	{"fabric", "commissioner", "fabric is a leaf"},
	{"radio", "fabric", "radio carries bytes and trusts nobody"},
	{"radio", "cluster", "radio is a leaf"},
	{"radio", "firmware", "radio is a leaf"},
	{"radio", "commissioner", "radio is a leaf"},
	{"cluster", "radio", "gateways talk over their own wire"},
	{"cluster", "firmware", "the cluster replicates what it does not understand"},
	{"cluster", "commissioner", "the cluster does not know what it is used for"},
	{"firmware", "radio", "decisions need no network"},
	{"firmware", "cluster", "decisions are pure"},
	{"firmware", "commissioner", "decisions do not know who asks"},
	{"firmware/manifest", "firmware/dcl", "statements stand for themselves"},
	{"firmware/manifest", "firmware/shelf", "statements stand for themselves"},
	{"firmware/dcl", "firmware/manifest", "the ledger stands for itself"},
	{"commissioner/setup", "commissioner/matter", "a setup code is read before anybody is talked to"},
	{"commissioner/matter", "cluster", "the protocol keeps no trust state"},
	{"commissioner/matter", "firmware", "the protocol decides nothing"},
	{"commissioner/matter/message", "commissioner/matter/exchange", "layers point downwards"},
	{"commissioner/matter/exchange", "commissioner/matter/securechannel", "layers point downwards"},
	{"commissioner/matter/securechannel", "commissioner/matter/interaction", "layers point downwards"},
	{"commissioner/matter/interaction", "commissioner/matter/datamodel", "the interaction model knows no cluster"},
	{"commissioner/matter/bdx", "commissioner/matter/interaction", "files are carried next to the interaction model, not over it"},
	{"commissioner/cmd/gatehouse", "commissioner/virtual", "production code has no simulated device"},
	{"commissioner/cmd/gatehouse", "fabric/attest/attesttest", "production code makes no attestation"},
	{"commissioner/cmd/gatehouse", "commissioner/portal/login/logintest", "production code fakes no passkey"},
	{"commissioner/cmd/gatehouse", "radio/radiotest", "production code breaks no network"},
	{"commissioner/cmd/gatehouse", "radio/button/buttontest", "production code fakes no button"},
	{"commissioner/portal", "radio/ble/goble", "packets from the air crash go-ble: it stays in the radio's process"},
	{"commissioner/portal/login", "commissioner/portal/webpki", "who somebody is does not hang on how the page is served"},
	{"commissioner/portal/webpki", "commissioner/portal/login", "the page's certificate stands for itself"},
	{"commissioner/keeper", "radio/ble/goble", "packets from the air crash go-ble: it stays in the radio's process"},
	{"radio/ble/wire", "radio/ble/goble", "the daemon's side knows no Bluetooth library"},
	{"radio/ble/proxy", "radio/ble/goble", "a proxy has its own Bluetooth, out of our reach"},
	{"radio/ble", "radio/radiotest", "production code breaks no network"},
	{"radio/btp", "radio/radiotest", "production code breaks no network"},
	{"radio/btp", "radio/ble", "the transport's machine knows no Bluetooth"},
	{"commissioner/cmd/gatehouse", "radio/dnssd/dnssdtest", "production code breaks no network"},
	{"commissioner/cmd/gatehouse", "commissioner/portal/door/doortest", "production code has no home in memory"},
	{"commissioner/cmd/gatehouse", "commissioner/portal/login/logintest", "production code has no passkey of its own"},
	{"commissioner/portal/login", "commissioner/portal/door", "what proves who somebody is does not know what for"},
	{"commissioner/portal/webpki", "commissioner/portal/door", "certificates do not know who logs in"},
	{"commissioner/nodes", "commissioner/keeper", "what devices said does not know who listens"},
	{"commissioner/cmd/gatehouse", "cluster/wire/wiretest", "production code breaks no network"},
	{"commissioner/cmd/gatehouse", "cluster/tpm/tpmtest", "production code emulates no TPM"},
	{"commissioner/cmd/gatehouse", "commissioner/portal/hass/hasstest", "production code serves no home that is none"},
	{"commissioner/cmd/gatehouse", "cluster/chaos", "production code breaks nothing"},
	{"commissioner/cmd/gatehouse", "cluster/powercut", "production code traces nobody"},
	{"commissioner/cmd/gatehouse", "cluster/cost", "production code measures nothing"},
	{"cluster/powercut", "cluster/store", "what records knows nothing of what it records"},
	{"commissioner/cmd/gatehouse", "commissioner/interop", "production code breaks nothing"},
	{"commissioner/inherit", "commissioner/matter", "a storage is read, and nobody is talked to"},
	{"commissioner/inherit", "radio", "a storage is read, and nobody is talked to"},
	{"commissioner/inherit", "cluster", "a storage is read, and nothing is founded"},
	{"commissioner/cmd/gatehouse", "commissioner/inherit/inherittest", "production code makes up no other controller"},
	{"commissioner/matter", "commissioner/enroll", "the protocol does not know what it is used for"},
}

// pure lists what must not reach the standard library's own effects.
var pure = []struct{ pkg, imports, why string }{
	{"fabric", "net", "no network"},
	{"fabric", "os", "no disk"},
	{"fabric/policy", "time", "no clock"},
	{"fabric/audit", "time", "no clock"},
	{"fabric/audit", "os", "no disk"},
	{"commissioner/matter/message", "net", "messages are bytes"},
	{"radio/ble", "gatehouse/radio/ble/goble", "packets from the air crash go-ble: it stays in the radio's process"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func below(path, folder string) bool {
	folder = "gatehouse/" + folder
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "gatehouse/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen[p.ImportPath] = true
		for _, f := range forbidden {
			for _, dep := range p.Deps {
				if below(p.ImportPath, f.from) && below(dep, f.to) {
					t.Errorf("%s imports %s: %s", p.ImportPath, dep, f.why)
				}
			}
		}
		for _, f := range pure {
			for _, dep := range p.Imports {
				if p.ImportPath == "gatehouse/"+f.pkg && dep == f.imports {
					t.Errorf("%s imports %s: %s", p.ImportPath, dep, f.why)
				}
			}
		}
	}
	for _, must := range []string{"fabric", "radio", "cluster", "commissioner", "commissioner/cmd/gatehouse"} {
		if !seen["gatehouse/"+must] {
			t.Errorf("there is no package %s: the arrows are held by nobody", must)
		}
	}
}
