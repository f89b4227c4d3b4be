package keyfile

import (
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/cluster/tpm"
	"gatehouse/fabric/seal"
)

// inTPM is the keys file of a gateway whose keys are in a TPM, in JSON. That
// of others is sealed contents, whose first octet names an algorithm and is no
// brace.
type inTPM struct {
	Primary  []byte     `json:"tpm2_primary"` // name of the storage key that Key is under
	Key      tpm.Object `json:"key"`          // what seals Contents
	Contents []byte     `json:"contents"`
}

// sealedByTPM tells the two kinds of keys files apart.
func sealedByTPM(file []byte) bool { return len(file) > 0 && file[0] == '{' }

// encodeForTPM is the keys file, with contents that are sealed with key.
func encodeForTPM(d *tpm.TPM, key seal.Secret, sealed []byte) ([]byte, error) {
	o, err := d.Seal(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(inTPM{d.Primary(), o, sealed})
}

// find is the TPM for new keys; nil if they go into a file.
func (o Options) find() *tpm.TPM {
	switch o.TPM {
	case NoTPM:
		return nil
	case "", AutoTPM:
		if d := tpm.At(tpm.Default, nil); d.Opens() {
			return d
		}
		return nil
	}
	return tpm.At(o.TPM, nil)
}

// loadFromTPM is Load for keys that are in a TPM.
func loadFromTPM(path string, file []byte, o Options) (Keys, error) {
	var f inTPM
	if err := json.Unmarshal(file, &f); err != nil || f.Primary == nil {
		return Keys{}, fmt.Errorf("%s is damaged, or not of this release; %s", path, wayOut)
	}
	where := o.TPM
	switch o.TPM {
	case NoTPM:
		return Keys{}, fmt.Errorf("the gateway's keys are in a TPM, and it is told to use %q", NoTPM)
	case "", AutoTPM:
		where = tpm.Default
	}
	d := tpm.At(where, f.Primary)
	failed := func(err error) error {
		return fmt.Errorf("the gateway's keys are in a TPM, and %s does not open them: %w; if it never will again, %s", where, err, wayOut)
	}
	key, err := d.Unseal(f.Key)
	if err != nil {
		return Keys{}, failed(err)
	}
	defer key.Erase()
	c, err := open(key, path, f.Contents)
	if err != nil {
		return Keys{}, err
	}
	defer c.clear()
	k, err := c.keys(TPMStorage)
	if err == nil && c.InTPM == nil {
		err = errors.New("there is no operational key")
	}
	if err != nil {
		return Keys{}, fmt.Errorf("%s: %w", path, err)
	}
	if k.Operational, err = d.OpenSigner(*c.InTPM); err != nil {
		return Keys{}, failed(err)
	}
	return k, nil
}
