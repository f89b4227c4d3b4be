package publish

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// key returns a public key as TUF names it.
func key(public crypto.PublicKey) (id string, k *metadata.Key, err error) {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return "", nil, errors.New("an ECDSA key that is not on P-256")
		}
	case ed25519.PublicKey:
		if len(public) != ed25519.PublicKeySize {
			return "", nil, errors.New("an Ed25519 key of the wrong length")
		}
	default:
		return "", nil, fmt.Errorf("a key that is a %T", public)
	}
	if k, err = metadata.KeyFromPublicKey(public); err == nil {
		id, err = k.ID()
	}
	return id, k, err
}

// tufKeys returns the ids of keys, and adds the keys to known.
func tufKeys(keys Keys, known map[string]*metadata.Key) (ids []string, err error) {
	for _, public := range keys.Public {
		id, k, err := key(public)
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, id) {
			return nil, errors.New("a key comes twice")
		}
		ids, known[id] = append(ids, id), k
	}
	if keys.Threshold < 1 || keys.Threshold > len(ids) {
		return nil, fmt.Errorf("a threshold of %d, of %d keys", keys.Threshold, len(ids))
	}
	return ids, nil
}

func setKeys(root *metadata.RootType, role string, keys Keys) error {
	entry := root.Roles[role]
	if entry == nil {
		return fmt.Errorf("there is no role %s", role)
	}
	ids, err := tufKeys(keys, root.Keys)
	if err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	entry.KeyIDs, entry.Threshold = ids, keys.Threshold
	maps.DeleteFunc(root.Keys, func(id string, _ *metadata.Key) bool {
		for _, r := range root.Roles {
			if slices.Contains(r.KeyIDs, id) {
				return false
			}
		}
		return true
	})
	return nil
}

func setVendorKeys(t *metadata.TargetsType, role string, keys Keys) error {
	d := delegation(t, role)
	if d == nil {
		return fmt.Errorf("there is no role %s", role)
	}
	ids, err := tufKeys(keys, t.Delegations.Keys)
	if err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	d.KeyIDs, d.Threshold = ids, keys.Threshold
	forgetKeys(t.Delegations)
	return nil
}

// forgetKeys drops keys that no role names.
func forgetKeys(d *metadata.Delegations) {
	maps.DeleteFunc(d.Keys, func(id string, _ *metadata.Key) bool {
		return !slices.ContainsFunc(d.Roles, func(r metadata.DelegatedRole) bool { return slices.Contains(r.KeyIDs, id) })
	})
}

// Sign adds a person's signature to what is staged for a role: "root",
// "targets" or a vendor's. The keys that a rotation takes away may sign too: of
// the root they must, and where they sign the targets, a cut while it is
// published does no harm.
func (r *Repository) Sign(role string, signer crypto.Signer) error {
	id, _, err := key(signer.Public())
	if err != nil {
		return err
	}
	allowed, err := r.mayStage(role)
	if err != nil {
		return err
	}
	if !slices.Contains(allowed, id) {
		return fmt.Errorf("this key has no say in %s", role)
	}
	if role == metadata.ROOT {
		return signStaged(r, role, id, signer, r.stagedRoot)
	}
	return signStaged(r, role, id, signer, func() (*metadata.Metadata[metadata.TargetsType], error) { return r.stagedTargets(role) })
}

func signStaged[T metadata.Roles](r *Repository, role, id string, signer crypto.Signer, load func() (*metadata.Metadata[T], error)) error {
	m, err := load()
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("nothing is staged for %s", role)
	}
	if err := sign(r.random, m, id, signer); err != nil {
		return fmt.Errorf("sign %s: %w", role, err)
	}
	return r.stage(role, m)
}

// sign puts the signature of the key with that id in the place of its former one.
func sign[T metadata.Roles](random io.Reader, m *metadata.Metadata[T], id string, signer crypto.Signer) error {
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return err
	}
	var options crypto.SignerOpts = crypto.Hash(0)
	if _, ok := signer.Public().(*ecdsa.PublicKey); ok {
		digest := sha256.Sum256(payload)
		payload, options = digest[:], crypto.SHA256
	}
	signature, err := signer.Sign(random, payload, options)
	if err != nil {
		return err
	}
	m.Signatures = slices.DeleteFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == id })
	m.Signatures = append(m.Signatures, metadata.Signature{KeyID: id, Signature: signature})
	return nil
}

// mayStage lists the keys that may sign what is staged for a role.
func (r *Repository) mayStage(role string) (ids []string, err error) {
	if role != metadata.ROOT && role != metadata.TARGETS {
		targets, err := r.draft(metadata.TARGETS)
		if err != nil {
			return nil, err
		}
		if d := delegation(&targets.Signed, role); d != nil {
			ids = d.KeyIDs
		}
		return ids, nil
	}
	_, old, err1 := r.root()
	next, err2 := r.stagedRoot()
	for _, root := range []*metadata.Metadata[metadata.RootType]{old, next} {
		if root != nil {
			ids = append(ids, root.Signed.Roles[role].KeyIDs...)
		}
	}
	return ids, errors.Join(err1, err2)
}

// rootMissing says what a staged root lacks: the signatures of the published
// one's keys, or of its own.
func (r *Repository) rootMissing(next *metadata.Metadata[metadata.RootType]) error {
	_, old, err := r.root()
	if err == nil && old != nil {
		err = old.VerifyDelegate(metadata.ROOT, next)
	}
	return errors.Join(err, next.VerifyDelegate(metadata.ROOT, next))
}

// nextRoot is the root that Publish leaves: a staged one that is signed, else
// the published one.
func (r *Repository) nextRoot() (*metadata.Metadata[metadata.RootType], error) {
	next, err := r.stagedRoot()
	if err != nil {
		return nil, err
	}
	_, old, err := r.root()
	if err != nil || next != nil && r.rootMissing(next) == nil {
		return next, err
	}
	if old == nil {
		return nil, fmt.Errorf("the first root is not signed: %w", r.rootMissing(next))
	}
	return old, nil
}
