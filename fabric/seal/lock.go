package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// maxWork is the most that Unlock does: a file that asks for more would take
// all of a small board's memory.
const maxWork = 20

// ErrPassphrase says that a file does not open with a passphrase.
var ErrPassphrase = errors.New("does not open with this passphrase")

// Lock encrypts a file to a passphrase, as an armored age file. work is
// KitWork, but in tests.
func Lock(plain []byte, passphrase string, work int) ([]byte, error) {
	if err := CheckPassphrase(passphrase); err != nil {
		return nil, err
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	recipient.SetWorkFactor(work)
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, recipient)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), a.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Unlock is the inverse of Lock, for files that hold at most limit octets. The
// error is ErrPassphrase where the passphrase is another one. Clear what it
// returns.
func Unlock(file []byte, passphrase string, limit int) ([]byte, error) {
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, ErrPassphrase
	}
	identity.SetMaxWorkFactor(maxWork)
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(file)), identity)
	if wrong := (*age.NoIdentityMatchError)(nil); errors.As(err, &wrong) {
		return nil, ErrPassphrase
	} else if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(plain) > limit {
		err = fmt.Errorf("it holds more than %d octets", limit)
	}
	if err != nil {
		clear(plain)
		return nil, err
	}
	return plain, nil
}
