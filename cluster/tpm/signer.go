package tpm

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"gatehouse/fabric/cert"
)

// ecdsaSHA256 is the one way in which keys sign.
var ecdsaSHA256 = tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}

// signingKey is the template of a key.
var signingKey = tpm2.TPMTPublic{Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, SignEncrypt: true},
	Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256,
		Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &ecdsaSHA256)}})}

// Signer is a private key on P-256 that its TPM made and keeps. It signs SHA-256
// digests.
type Signer struct {
	tpm    *TPM
	key    Object
	public cert.PublicKey

	// The key as it was loaded last, encrypted by the TPM for itself until it
	// is reset: to load this is much faster than to begin with the primary
	// storage key. Its mutex is the TPM's.
	name  tpm2.TPM2BName
	saved *tpm2.TPMSContext
}

// NewSigner makes a key.
func (d *TPM) NewSigner() (*Signer, error) {
	var key Object
	err := d.under(func(p parent) (err error) {
		key, err = p.create(signingKey, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.OpenSigner(key)
}

// OpenSigner is a key that was made before, once the TPM has loaded it.
func (d *TPM) OpenSigner(key Object) (*Signer, error) {
	blob := tpm2.BytesAs2B[tpm2.TPMTPublic](key.Public)
	public, err := blob.Contents()
	if err != nil {
		return nil, err
	}
	point, err := tpm2.Pub(*public)
	if err != nil {
		return nil, err
	}
	k := &Signer{tpm: d, key: key}
	if k.public, err = cert.PublicKeyOf(point); err != nil {
		return nil, err
	}
	return k, d.do(func(t transport.TPM) error {
		h, err := k.load(t)
		if err == nil {
			flush(t, h.Handle)
		}
		return err
	})
}

// Object is the key as its TPM gave it out, for OpenSigner.
func (k *Signer) Object() Object { return k.key }

// TPM is the one that has the key.
func (k *Signer) TPM() *TPM { return k.tpm }

// load loads the key, which the caller flushes.
func (k *Signer) load(t transport.TPM) (h tpm2.NamedHandle, err error) {
	if k.saved != nil {
		if loaded, err := (tpm2.ContextLoad{Context: *k.saved}).Execute(t); err == nil {
			return tpm2.NamedHandle{Handle: loaded.LoadedHandle, Name: k.name}, nil
		}
		k.saved = nil // the TPM was reset
	}
	p, err := k.tpm.parent(t)
	if err != nil {
		return h, err
	}
	defer flush(t, p.Handle)
	if h, err = p.load(k.key); err != nil {
		return h, err
	}
	if saved, err := (tpm2.ContextSave{SaveHandle: h.Handle}).Execute(t); err == nil {
		k.name, k.saved = h.Name, &saved.Context
	}
	return h, nil
}

// PublicKey is the public key as it travels.
func (k *Signer) PublicKey() cert.PublicKey { return k.public }

// Public is the *ecdsa.PublicKey.
func (k *Signer) Public() crypto.PublicKey {
	key, err := k.public.Key()
	if err != nil {
		return nil
	}
	return key
}

// Sign signs a SHA-256 digest with the TPM's own randomness. The signature is
// in DER.
func (k *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return nil, errors.New("a TPM's key signs SHA-256 digests only")
	}
	var signature cert.Signature
	err := k.tpm.do(func(t transport.TPM) error {
		h, err := k.load(t)
		if err != nil {
			return err
		}
		defer flush(t, h.Handle)
		rsp, err := tpm2.Sign{KeyHandle: h, Digest: tpm2.TPM2BDigest{Buffer: digest}, Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck}}.Execute(t)
		if err != nil {
			return err
		}
		pair, err := rsp.Signature.Signature.ECDSA()
		if err != nil {
			return err
		}
		signature, err = joined(pair.SignatureR.Buffer, pair.SignatureS.Buffer)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sign with the TPM: %w", err)
	}
	return signature.DER(), nil
}

// joined is a signature of two numbers, which a TPM may give without the zeros
// in front.
func joined(r, s []byte) (signature cert.Signature, err error) {
	half := len(signature) / 2
	if len(r) > half || len(s) > half {
		return signature, errors.New("the signature is too long")
	}
	copy(signature[half-len(r):], r)
	copy(signature[len(signature)-len(s):], s)
	return signature, nil
}
