package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/vault"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// canary fails if the light's passcode, in any form that a log might take, is
// in a file of the state directory or in the gateway's output.
func canary(ts *testscript.TestScript, _ bool, files []string) {
	payloads, err := setup.Parse(ts.Getenv("CODE"))
	ts.Check(err)
	passcode := payloads[0].Passcode.Reveal()
	for _, f := range append(files, ts.Getenv("GATEHOUSE_STATE")) {
		lacks(ts, f, fmt.Sprintf("%08d", passcode), fmt.Sprintf("%x", passcode), ts.Getenv("CODE"))
	}
}

// lacksText fails if a file, or one below a directory, holds one of the texts
// that are the lines of another file.
func lacksText(ts *testscript.TestScript, _ bool, args []string) {
	lacks(ts, args[0], strings.Fields(ts.ReadFile(args[1]))...)
}

func lacks(ts *testscript.TestScript, root string, forms ...string) {
	walk := func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		ts.Check(err)
		for _, form := range forms {
			if bytes.Contains(data, []byte(form)) {
				ts.Fatalf("%s holds the secret %q", path, form)
			}
		}
		return nil
	}
	ts.Check(filepath.Walk(ts.MkAbs(root), walk))
}

// answers writes what the gateway's API tells into a file: of each list, and
// the metrics.
func answers(ts *testscript.TestScript, _ bool, args []string) {
	g := globals{State: args[0]}
	var all []byte
	for _, path := range []string{"status", "mode", "gateways", "seal", "devices", "networks", "trust", "audit", "audit/checkpoint", "backup", "../../metrics"} {
		resp, err := g.request(context.Background(), "GET", path, nil)
		ts.Check(err)
		body, err := io.ReadAll(resp.Body)
		ts.Check(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || len(body) == 0 {
			ts.Fatalf("%s: %s", path, resp.Status)
		}
		all = append(all, body...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), all, 0o600))
}

// keysLeak fails if a key of the home, or of a gateway, is anywhere in plain:
// keysleak KIT PASSPHRASE-FILE STATE... looks at the state directories of
// gateways that do not run, and at all files of the script.
func keysLeak(ts *testscript.TestScript, _ bool, args []string) {
	passphrase, _, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
	kit, err := seal.OpenKit([]byte(ts.ReadFile(args[0])), passphrase)
	ts.Check(err)
	opener, err := kit.Sealing.Reveal()
	ts.Check(err)
	secrets := [][]byte{kit.Key.Reveal(), opener.Reveal()}

	house := helpers{vaults: map[cert.NodeID]*vault.Vault{}}
	for _, dir := range args[2:] {
		keys, err := keyfile.Load(dir, keyfile.Options{TPM: keyfile.NoTPM})
		ts.Check(err)
		s, err := cluster.Read(cluster.Config{Dir: found.LogDir(dir), Node: keys.Node, Log: slog.New(slog.DiscardHandler)})
		ts.Check(err)
		secrets = append(secrets, keys.Operational.(issuer.PrivateKey).Reveal())
		for _, k := range keys.Sealing {
			raw, err := k.Reveal()
			ts.Check(err)
			secrets = append(secrets, raw.Reveal())
		}
		if house.state == nil || s.Index > house.state.Index {
			house.state = s
		}
		house.vaults[keys.Node] = &vault.Vault{Node: keys.Node, Sealing: func() []seal.SealingKey { return keys.Sealing }}
	}
	for n, v := range house.vaults {
		v.Helpers = helper{house, n}
		if !house.state.Gateways[n].Member() {
			ts.Fatalf("gateway %v is no member", n)
		}
		x, err := v.Open(context.Background(), house.state)
		ts.Check(err)
		secrets = append(secrets, x.IssuerKey.Reveal(), x.IPK.Reveal())
		for _, credentials := range x.Networks {
			secrets = append(secrets, credentials.Reveal())
		}
	}
	var forms []string
	for _, s := range secrets {
		if len(s) < 8 {
			ts.Fatalf("a secret of %d octets would be found anywhere", len(s))
		}
		forms = append(forms, string(s), hex.EncodeToString(s), strings.ToUpper(hex.EncodeToString(s)), base64.StdEncoding.EncodeToString(s),
			base64.RawURLEncoding.EncodeToString(s), fmt.Sprint(s))
	}
	for _, root := range append(args[2:], ts.Getenv("WORK")) {
		lacks(ts, root, forms...)
	}
}

// helpers are gateways that help each other, each as if it led.
type helpers struct {
	state  *fabric.State
	vaults map[cert.NodeID]*vault.Vault
}

type helper struct {
	helpers
	asker cert.NodeID
}

func (h helper) Help(_ context.Context, n cert.NodeID, use vault.Use, number uint32) ([]byte, error) {
	if h.vaults[n] == nil {
		return nil, errors.New("it is off")
	}
	return h.vaults[n].Help(h.state, h.asker, h.asker, use, number)
}
