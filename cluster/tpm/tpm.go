// Package tpm has a TPM 2.0 make keys that it never gives out, and seal small
// secrets that no other TPM opens.
//
// It promises that a secret crosses the bus between processor and TPM only
// encrypted, and that a TPM that is another one, or was cleared, is told from
// one that fails for now ([ErrOther]). It keeps nothing from whoever can make
// the TPM work: an object opens for whatever runs on its machine.
package tpm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"

	"gatehouse/fabric/seal"
)

// Default is the kernel's resource manager: each opening of it has the TPM to
// itself, and what it loaded is gone when it is closed.
const Default = "/dev/tpmrm0"

// Of parameter encryption.
const (
	nonceSize = 16  // octets
	aesBits   = 128 // what every TPM 2.0 has
)

// ErrOther says that a TPM cannot open an object, and never will.
var ErrOther = errors.New("it is another TPM than the one that made them, or it was cleared")

// TPM is a TPM 2.0. It is opened for each operation, and nothing stays loaded:
// others can use it meanwhile, and a TPM that was reset is as good as before.
type TPM struct {
	path    string
	primary []byte     // name of its primary storage key; nil: not known yet
	mu      sync.Mutex // one operation at a time
}

// At is the TPM at path: a character device, or the unix socket of an emulator.
// primary is what Primary gave when its objects were made, nil for a TPM that
// is to make some.
func At(path string, primary []byte) *TPM { return &TPM{path: path, primary: primary} }

// Opens reports whether there is a TPM.
func (d *TPM) Opens() bool { return d.do(func(transport.TPM) error { return nil }) == nil }

// Path is where the TPM is.
func (d *TPM) Path() string { return d.path }

// Primary names the storage key that the TPM's objects are under; nil before
// the first was made.
func (d *TPM) Primary() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.primary
}

// Object is a key or a secret as its TPM gave it out: of use nowhere else.
type Object struct {
	Public  []byte `json:"public"`
	Private []byte `json:"private"`
}

// do has f done with the TPM.
func (d *TPM) do(f func(transport.TPM) error) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, err := open(d.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	return f(t)
}

// open opens a character device or a unix socket.
func open(path string) (transport.TPMCloser, error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode()&fs.ModeSocket != 0 {
		return linuxudstpm.Open(path)
	}
	return linuxtpm.Open(path)
}

// parent is the primary storage key, loaded. A TPM derives the same one as
// long as it is not cleared, and no other TPM does.
type parent struct {
	tpm2.NamedHandle
	t      transport.TPM
	public tpm2.TPMTPublic
}

// under is do, with the primary storage key loaded.
func (d *TPM) under(f func(parent) error) error {
	return d.do(func(t transport.TPM) error {
		p, err := d.parent(t)
		if err != nil {
			return err
		}
		defer flush(t, p.Handle)
		return f(p)
	})
}

func (d *TPM) parent(t transport.TPM) (parent, error) {
	made, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(t)
	if err != nil {
		return parent{}, fmt.Errorf("derive the primary storage key: %w", err)
	}
	public, err1 := made.OutPublic.Contents()
	name, err2 := (*tpm2.TPM2BName)(nil), err1
	if err1 == nil {
		// From the public key itself: what salts the sessions must be the key
		// that is named, and not another that somebody on the bus puts in.
		name, err2 = tpm2.ObjectName(public)
	}
	switch {
	case err2 != nil:
		err = fmt.Errorf("read the primary storage key: %w", err2)
	case d.primary == nil:
		d.primary = name.Buffer
	case !bytes.Equal(d.primary, name.Buffer):
		err = ErrOther
	}
	if err != nil {
		flush(t, made.ObjectHandle)
		return parent{}, err
	}
	return parent{tpm2.NamedHandle{Handle: made.ObjectHandle, Name: *name}, t, *public}, nil
}

// flush unloads an object. Where it fails, closing the device does it.
func flush(t transport.TPM, h tpm2.TPMHandle) { tpm2.FlushContext{FlushHandle: h}.Execute(t) }

// private authorizes the use of h in a session that is salted to the primary
// storage key and encrypts the first parameter: who listens on the bus sees no
// secret, and who changes what is said there is noticed.
func (p parent) private(h tpm2.NamedHandle, encryption tpm2.AuthOption) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: h.Handle, Name: h.Name,
		Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, nonceSize, encryption, tpm2.Salted(p.Handle, p.public))}
}

// Which way the first parameter is encrypted.
var (
	toTPM   = tpm2.AESEncryption(aesBits, tpm2.EncryptIn)
	fromTPM = tpm2.AESEncryption(aesBits, tpm2.EncryptOut)
)

// create makes an object; secret is what it seals, if anything.
func (p parent) create(template tpm2.TPMTPublic, secret []byte) (Object, error) {
	cmd := tpm2.Create{ParentHandle: p.private(p.NamedHandle, toTPM), InPublic: tpm2.New2B(template)}
	if secret != nil {
		cmd.InSensitive = tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret})}}
	}
	made, err := cmd.Execute(p.t)
	if err != nil {
		return Object{}, err
	}
	return Object{made.OutPublic.Bytes(), made.OutPrivate.Buffer}, nil
}

// load loads an object, which the caller flushes.
func (p parent) load(o Object) (tpm2.NamedHandle, error) {
	loaded, err := tpm2.Load{ParentHandle: p.NamedHandle, InPrivate: tpm2.TPM2BPrivate{Buffer: o.Private},
		InPublic: tpm2.BytesAs2B[tpm2.TPMTPublic](o.Public)}.Execute(p.t)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	return tpm2.NamedHandle{Handle: loaded.ObjectHandle, Name: loaded.Name}, nil
}

// sealedSecret is the template of a secret that stays with its TPM.
var sealedSecret = tpm2.TPMTPublic{Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, UserWithAuth: true, NoDA: true}}

// Seal seals a secret of at most 128 octets.
func (d *TPM) Seal(secret seal.Secret) (o Object, err error) {
	raw := secret.Reveal()
	defer clear(raw)
	err = d.under(func(p parent) error {
		o, err = p.create(sealedSecret, raw)
		return err
	})
	if err != nil {
		return Object{}, fmt.Errorf("seal a key in the TPM: %w", err)
	}
	return o, nil
}

// Unseal is the inverse of Seal. Erase what it returns.
func (d *TPM) Unseal(o Object) (secret seal.Secret, err error) {
	err = d.under(func(p parent) error {
		h, err := p.load(o)
		if err != nil {
			return err
		}
		defer flush(p.t, h.Handle)
		rsp, err := tpm2.Unseal{ItemHandle: p.private(h, fromTPM)}.Execute(p.t)
		if err != nil {
			return err
		}
		defer clear(rsp.OutData.Buffer)
		secret = seal.NewSecret(rsp.OutData.Buffer)
		return nil
	})
	return secret, err
}
