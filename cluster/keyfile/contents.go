package keyfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"gatehouse/cluster/tpm"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// contents is what is sealed, in JSON.
type contents struct {
	Node        cert.NodeID `json:"node"`
	Operational []byte      `json:"operational,omitempty"`
	InTPM       *tpm.Object `json:"operational_tpm2,omitempty"`
	Sealing     []byte      `json:"sealing"`
	Before      []byte      `json:"sealing_before,omitempty"`
}

// encode is the keys file, its contents sealed with key.
func (k Keys) encode(key seal.Secret, random io.Reader) ([]byte, error) {
	c := contents{Node: k.Node}
	defer c.clear()
	signer, inTPM := k.Operational.(*tpm.Signer)
	private, file := k.Operational.(issuer.PrivateKey)
	switch {
	case inTPM:
		o := signer.Object()
		c.InTPM = &o
	case file:
		c.Operational = private.Reveal()
	}
	if !inTPM && !file || len(k.Sealing) < 1 || len(k.Sealing) > 2 {
		return nil, errors.New("these are not a gateway's keys")
	}
	for i, s := range k.Sealing {
		secret, err := s.Reveal()
		if err != nil {
			return nil, err
		}
		*[]*[]byte{&c.Sealing, &c.Before}[i] = secret.Reveal()
		secret.Erase()
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	sealed, err := seal.AES256GCM.Seal(random, key, purpose, plain)
	if err != nil || !inTPM {
		return sealed, err
	}
	return encodeForTPM(signer.TPM(), key, sealed)
}

// open is the inverse of sealing contents.
func open(key seal.Secret, path string, sealed []byte) (c contents, err error) {
	plain, err := seal.Open(key, purpose, sealed)
	if err != nil {
		return c, fmt.Errorf("%s is damaged, or not of its key: %w; %s", path, err, wayOut)
	}
	defer plain.Erase()
	raw := plain.Reveal()
	defer clear(raw)
	if json.Unmarshal(raw, &c) != nil { // whose error might quote it
		return c, fmt.Errorf("%s is not of this release", path)
	}
	return c, nil
}

// keys are the keys, but for the operational one.
func (c *contents) keys(s Storage) (Keys, error) {
	k := Keys{Node: c.Node, Storage: s}
	for _, raw := range [][]byte{c.Sealing, c.Before} {
		if raw == nil {
			continue
		}
		secret := seal.NewSecret(raw)
		sealing, err := seal.ParseSealingKey(secret)
		secret.Erase()
		if err != nil {
			return Keys{}, err
		}
		k.Sealing = append(k.Sealing, sealing)
	}
	if len(k.Sealing) == 0 {
		return Keys{}, errors.New("there is no sealing key")
	}
	return k, nil
}

// clear overwrites what must not stay in memory.
func (c *contents) clear() {
	clear(c.Operational)
	clear(c.Sealing)
	clear(c.Before)
}
