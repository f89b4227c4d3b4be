package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// strict refuses what JSON readers are known to disagree about, so that every
// reader of a signed document reads the same: names that come twice, or in
// capitals, null, invalid UTF-8, more than one value.
func strict(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := strictValue(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the document")
	}
	return nil
}

func strictValue(d *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("more than %d levels", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token == nil {
		return errors.New("null")
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	names := map[string]bool{}
	for d.More() {
		if open == '{' {
			if err := strictName(d, names); err != nil {
				return err
			}
		}
		if err := strictValue(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func strictName(d *json.Decoder, names map[string]bool) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	name, _ := token.(string)
	// encoding/json also takes "ſ" for "s" and the Kelvin sign for "k".
	odd := func(r rune) bool { return r < ' ' || r > '~' || 'A' <= r && r <= 'Z' }
	if strings.ContainsFunc(name, odd) || names[name] {
		return fmt.Errorf("the name %.40q comes twice or is not in lower-case ASCII", name)
	}
	names[name] = true
	return nil
}
