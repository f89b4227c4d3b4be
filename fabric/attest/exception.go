package attest

import (
	"slices"
	"time"
)

// excusable are the reasons that an exception may let pass: that somebody
// other than a certified maker vouches for the device. Everything else means
// that the evidence is false.
var excusable = []Code{TestRoot, CDTestSigner, CDTestType}

// Exception lets devices under development pass, for a while.
type Exception struct {
	Name      string    // for people; it appears in the verdict and must not be empty
	VendorID  uint16    // as in Basic Information; 0: every vendor
	ProductID uint16    // 0: every product of the vendor
	Expires   time.Time // the exception does not hold from then on, nor if the time is not known
}

func (x Exception) excuses(code Code, vendor, product uint16, now time.Time) bool {
	return x.Name != "" && slices.Contains(excusable, code) &&
		(x.VendorID == 0 || x.VendorID == vendor) &&
		(x.ProductID == 0 || x.VendorID != 0 && x.ProductID == product) &&
		!now.IsZero() && now.Before(x.Expires)
}
