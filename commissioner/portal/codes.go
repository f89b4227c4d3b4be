package portal

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/qr"
	"gatehouse/commissioner/setup"
)

// Codes are the setup codes in a picture.
type Codes struct {
	Codes []SetupCode `json:"codes"`
}

// SetupCode is one, and for which devices it is.
type SetupCode struct {
	Code    string       `json:"code"`
	Devices []CodeDevice `json:"devices"`
}

// CodeDevice is what a setup code says of a device.
type CodeDevice struct {
	VendorID      uint16 `json:"vendor_id,omitempty"`
	ProductID     uint16 `json:"product_id,omitempty"`
	Discriminator string `json:"discriminator"`
}

// maxCodeText bounds a code that is given as text, in octets.
const maxCodeText = 4 << 10

// readCodes finds the setup codes in a JPEG or PNG picture. What is no setup
// code is left aside. A code as text/plain, which a browser read or a person
// typed, is told of, or what is wrong with it. Neither the picture nor a code is
// kept.
func (p *Portal) readCodes(w http.ResponseWriter, r *http.Request) error {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "text/plain" {
		text, err := io.ReadAll(io.LimitReader(r.Body, maxCodeText))
		if err != nil {
			return invalid(err)
		}
		code, err := setupCode(strings.TrimSpace(string(text)))
		if err != nil {
			return err
		}
		return reply(w, Codes{[]SetupCode{code}})
	}
	picture, err := io.ReadAll(r.Body)
	if err != nil {
		return invalid(err)
	}
	texts, err := p.Codes.Picture(r.Context(), picture)
	switch {
	case errors.Is(err, qr.ErrBusy):
		return &commissioner.Failure{Code: "pictures-busy", Message: err.Error(), Remedy: "try again in a second"}
	case err != nil:
		return &commissioner.Failure{Code: "picture-unusable", Message: err.Error(), Remedy: "take another picture, or type the digits beside the code"}
	}
	list := Codes{[]SetupCode{}}
	for _, text := range texts {
		if code, err := setupCode(text); err == nil {
			list.Codes = append(list.Codes, code)
		}
	}
	return reply(w, list)
}

func setupCode(text string) (SetupCode, error) {
	payloads, err := setup.Parse(text)
	if err != nil {
		return SetupCode{}, err
	}
	code := SetupCode{Code: text, Devices: []CodeDevice{}}
	for _, p := range payloads {
		code.Devices = append(code.Devices, CodeDevice{p.VendorID, p.ProductID, p.Discriminator.String()})
	}
	return code, nil
}
