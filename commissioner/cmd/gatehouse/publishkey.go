package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/tpm"
	"gatehouse/commissioner"
	"gatehouse/commissioner/signkey"
	"gatehouse/fabric/seal"
	"gatehouse/firmware/manifest/publish"
)

// keyWork is how hard a passphrase is to guess; the tests' are easy.
var keyWork = signkey.Work

// minKeyID is how much of a key's id names it, in hex digits.
const minKeyID = 8

type firmwareKeyCmds struct {
	New  firmwareKeyNewCmd  `cmd:"" help:"Make a key, and show its public half."`
	Show firmwareKeyShowCmd `cmd:"" help:"Show the public half of a key."`
}

// shownKey is what key new and key show tell.
type shownKey struct {
	File    string `json:"file"`
	ID      string `json:"id"`
	Kind    string `json:"kind"`    // ed25519 or ecdsa-p256
	Storage string `json:"storage"` // file or tpm2
	Public  string `json:"public"`
}

func showKey(g *globals, file string, k *signkey.File) error {
	id, err1 := publish.KeyID(k.Public())
	public, err2 := signkey.FormatPublic(k.Public())
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	s, where := shownKey{file, id, "ed25519", "file", public}, "in this file, under its passphrase"
	if _, ok := k.Public().(*ecdsa.PublicKey); ok {
		s.Kind = "ecdsa-p256"
	}
	if k.InTPM() {
		s.Storage, where = "tpm2", "in this machine's TPM"
	}
	return present(g, s, func() { fmt.Printf("key %s: %s, %s\nits public half: %s\n", s.ID, s.Kind, where, s.Public) })
}

type firmwareKeyNewCmd struct {
	File           string `arg:"" help:"Key file to write; it must not exist. Keep a copy of it elsewhere." type:"path"`
	InTPM          bool   `name:"in-tpm" help:"Have the TPM make the key and keep it. It signs without a passphrase, on this machine alone: for a timer."`
	PassphraseFile string `help:"File whose first line is the key's passphrase; asked for if there is none." type:"existingfile"`
	TPM            string `name:"tpm" help:"Where the TPM is: a device or a unix socket. auto is /dev/tpmrm0." default:"auto" env:"GATEHOUSE_TPM"`
}

func (c *firmwareKeyNewCmd) Run(g *globals) error {
	if err := mustNotExist(c.File, "a signing key"); err != nil {
		return err
	}
	k, err := c.create()
	switch {
	case errors.Is(err, fs.ErrExist):
		return mustNotExist(c.File, "a signing key")
	case err != nil:
		var f *commissioner.Failure
		if errors.As(err, &f) {
			return f
		}
		return &commissioner.Failure{Code: "signing-key-not-made", Message: err.Error(), Remedy: "see the reason given; no key was made"}
	}
	return showKey(g, c.File, k)
}

func (c *firmwareKeyNewCmd) create() (*signkey.File, error) {
	if c.InTPM {
		where, err := tpmPath(c.TPM)
		if err != nil {
			return nil, err
		}
		return signkey.CreateInTPM(c.File, tpm.At(where, nil), nil)
	}
	passphrase, err := readPassphrase(c.PassphraseFile, c.File, true)
	if err != nil {
		return nil, err
	}
	return signkey.Create(c.File, passphrase, keyWork, rand.Reader, nil)
}

func tpmPath(flag string) (string, error) {
	switch flag {
	case keyfile.NoTPM:
		return "", invalid("the key is for a TPM, and --tpm is %q", flag)
	case "", keyfile.AutoTPM:
		return tpm.Default, nil
	}
	return flag, nil
}

type firmwareKeyShowCmd struct {
	File string `arg:"" help:"Key file." type:"existingfile"`
}

func (c *firmwareKeyShowCmd) Run(g *globals) error {
	k, err := readKey(c.File)
	if err != nil {
		return err
	}
	return showKey(g, c.File, k)
}

func readKey(file string) (*signkey.File, error) {
	k, err := signkey.Read(file)
	if err != nil {
		return nil, keyUnusable(err)
	}
	return k, nil
}

func keyUnusable(err error) error {
	return &commissioner.Failure{Code: "signing-key-unusable", Message: err.Error(),
		Remedy: "take the copy of the key file; if there is none, have the others take the key away with `gatehouse firmware rotate`"}
}

// publicKey reads a key file's public half, or one that is written out.
func publicKey(word string) (crypto.PublicKey, error) {
	data, err := os.ReadFile(word)
	if errors.Is(err, fs.ErrNotExist) {
		public, err := signkey.ParsePublic(word)
		if err != nil {
			return nil, invalid("%.100q is no file and no public key", word)
		}
		return public, nil
	} else if err != nil {
		return nil, commissioner.Fail(commissioner.CodeInvalidArgument, err)
	}
	if !bytes.HasPrefix(data, []byte("{")) {
		public, err := signkey.ParsePublic(string(data))
		if err != nil {
			return nil, invalid("%s: %w", word, err)
		}
		return public, nil
	}
	k, err := signkey.Parse(data)
	if err != nil {
		return nil, keyUnusable(fmt.Errorf("%s: %w", word, err))
	}
	return k.Public(), nil
}

// keyID is the id of a key among keys, given by the beginning of that or as
// publicKey takes it.
func keyID(word string, keys publish.Keys) (string, error) {
	found := ""
	for _, public := range keys.Public {
		id, err := publish.KeyID(public)
		if err != nil {
			return "", err
		}
		if len(word) >= minKeyID && strings.HasPrefix(id, strings.ToLower(word)) {
			if found != "" {
				return "", invalid("%s is the beginning of two keys' ids", word)
			}
			found = id
		}
	}
	if found != "" {
		return found, nil
	}
	public, err := publicKey(word)
	if err != nil {
		return "", err
	}
	return publish.KeyID(public)
}

// signingKeys are those that a command signs with.
type signingKeys struct {
	Key            []string `help:"Key file. Repeat it for each." required:"" placeholder:"FILE" type:"existingfile" sep:"none"`
	PassphraseFile []string `help:"File whose first line is the key's passphrase; of several keys, one for all, or one for each that has a passphrase. Asked for if there is none." placeholder:"FILE" type:"existingfile" sep:"none"`
	TPM            string   `name:"tpm" help:"Where the TPM is that has the key, if one does." default:"auto" env:"GATEHOUSE_TPM"`
}

// unlock opens the keys. erase forgets them.
func (s *signingKeys) unlock() (signers []crypto.Signer, erase func(), err error) {
	files, passphrases, err := s.read()
	if err != nil {
		return nil, nil, err
	}
	var opened []signkey.Signer
	forget := func() {
		for _, k := range opened {
			k.Erase()
		}
	}
	for i, k := range files {
		key, err := s.open(s.Key[i], k, passphrases[i])
		if err != nil {
			forget()
			return nil, nil, err
		}
		opened, signers = append(opened, key), append(signers, key)
	}
	return signers, forget, nil
}

// read reads the key files, and says which passphrase file is for which.
func (s *signingKeys) read() (files []*signkey.File, passphrases []string, err error) {
	var locked []int
	for i, name := range s.Key {
		k, err := readKey(name)
		if err != nil {
			return nil, nil, err
		}
		if files = append(files, k); !k.InTPM() {
			locked = append(locked, i)
		}
	}
	passphrases = make([]string, len(files))
	switch n := len(s.PassphraseFile); {
	case n == 1:
		for _, i := range locked {
			passphrases[i] = s.PassphraseFile[0]
		}
	case n == len(locked):
		for j, i := range locked {
			passphrases[i] = s.PassphraseFile[j]
		}
	case n > 1:
		return nil, nil, invalid("%d of the keys have a passphrase, and %d passphrase files are given", len(locked), n)
	}
	return files, passphrases, nil
}

func (s *signingKeys) open(name string, k *signkey.File, passphraseFile string) (signkey.Signer, error) {
	if k.InTPM() {
		where, err := tpmPath(s.TPM)
		if err != nil {
			return nil, err
		}
		key, err := k.OpenTPM(where)
		if err != nil {
			return nil, keyUnusable(fmt.Errorf("%s: %w", name, err))
		}
		return key, nil
	}
	passphrase, err := readPassphrase(passphraseFile, name, false)
	if err != nil {
		return nil, err
	}
	key, err := k.Unlock(passphrase)
	switch {
	case errors.Is(err, seal.ErrPassphrase):
		return nil, &commissioner.Failure{Code: "passphrase-wrong", Message: fmt.Sprintf("%s %v", name, err), Remedy: "try again"}
	case err != nil:
		return nil, keyUnusable(fmt.Errorf("%s: %w", name, err))
	}
	return key, nil
}
