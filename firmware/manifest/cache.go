package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gatehouse/firmware/durable"
)

// The cache is two files, each written whole. good holds the last complete
// state: what can be read without a network. seen holds the newest root,
// timestamp and snapshot that were verified, even in a pass that failed after.
// Both are what must not be gone back behind, so that one may be damaged.
const (
	goodFile = "good.json"
	seenFile = "seen.json"
	maxCache = 64 << 20 // octets
)

type kept struct {
	state
	Refreshed time.Time `json:",omitzero"` // in seen: the last Refresh that succeeded
}

type cache struct {
	dir     string
	written map[string][sha256.Size]byte // what each file is known to hold
}

// load reads a file of the cache. One that is missing is empty, one whose
// checksum is wrong is an error and empty.
func (c *cache) load(name string) (*kept, error) {
	k := &kept{}
	path := filepath.Join(c.dir, name)
	if info, err := os.Stat(path); err == nil && info.Size() > maxCache {
		return k, refuse(Damaged, name, "%d octets", info.Size())
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	} else if err != nil {
		return k, &Error{Storage, name, err}
	}
	sum, body, _ := bytes.Cut(data, []byte("\n"))
	digest := sha256.Sum256(body)
	if hex.EncodeToString(digest[:]) != string(sum) {
		return k, refuse(Damaged, name, "its checksum is wrong")
	}
	if err := json.Unmarshal(body, k); err != nil {
		return &kept{}, &Error{Damaged, name, err}
	}
	c.written[name] = digest
	return k, nil
}

// save writes a file of the cache, unless that is what it holds.
func (c *cache) save(name string, k *kept) error {
	body, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	digest := sha256.Sum256(body)
	if c.written[name] == digest {
		return nil
	}
	delete(c.written, name)
	if err := durable.Write(filepath.Join(c.dir, name), fmt.Appendf(nil, "%x\n%s", digest, body)); err != nil {
		return &Error{Storage, name, err}
	}
	c.written[name] = digest
	return nil
}
