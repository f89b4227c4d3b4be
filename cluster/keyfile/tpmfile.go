package keyfile

import (
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/fabric/seal"
)

// inTPM is the keys file of a gateway whose keys are in a TPM, in JSON. That
// of others is sealed contents, whose first octet names an algorithm and is no
// brace.
type inTPM struct {
	Primary  []byte `json:"tpm2_primary"` // name of the storage key that Key is under
	Key      object `json:"key"`          // what seals Contents
	Contents []byte `json:"contents"`
}

// sealedByTPM tells the two kinds of keys files apart.
func sealedByTPM(file []byte) bool { return len(file) > 0 && file[0] == '{' }

// encodeForTPM is the keys file, with contents that are sealed with key.
func encodeForTPM(d *tpm, key seal.Secret, sealed []byte) ([]byte, error) {
	o, err := d.seal(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(inTPM{d.primary, o, sealed})
}

// find is the TPM for new keys; nil if they go into a file.
func (o Options) find() *tpm {
	switch o.TPM {
	case NoTPM:
		return nil
	case "", AutoTPM:
		t, err := openTPM(defaultTPM)
		if err != nil {
			return nil
		}
		t.Close()
		return &tpm{path: defaultTPM}
	}
	return &tpm{path: o.TPM}
}

// loadFromTPM is Load for keys that are in a TPM.
func loadFromTPM(path string, file []byte, o Options) (Keys, error) {
	var f inTPM
	if err := json.Unmarshal(file, &f); err != nil || f.Primary == nil {
		return Keys{}, fmt.Errorf("%s is damaged, or not of this release; %s", path, wayOut)
	}
	d := &tpm{path: o.TPM, primary: f.Primary}
	switch o.TPM {
	case NoTPM:
		return Keys{}, fmt.Errorf("the gateway's keys are in a TPM, and it is told to use %q", NoTPM)
	case "", AutoTPM:
		d.path = defaultTPM
	}
	failed := func(err error) error {
		return fmt.Errorf("the gateway's keys are in a TPM, and %s does not open them: %w; if it never will again, %s", d.path, err, wayOut)
	}
	key, err := d.unseal(f.Key)
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
	if k.Operational, err = openTPMSigner(d, *c.InTPM); err != nil {
		return Keys{}, failed(err)
	}
	return k, nil
}
