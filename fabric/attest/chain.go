package attest

// certificates reads DAC and PAI and holds each against its profile, and both
// against each other.
func (c *checker) certificates() {
	var err error
	if c.dac, err = ParseCertificate(c.Evidence.DAC); err != nil {
		c.refuse(DACMalformed, "%v", err)
		c.dac = nil
	} else if err := c.dac.CheckDAC(); err != nil {
		c.refuse(DACProfile, "%v", err)
	}
	if c.pai, err = ParseCertificate(c.Evidence.PAI); err != nil {
		c.refuse(PAIMalformed, "%v", err)
		c.pai = nil
	} else if err := c.pai.CheckPAI(); err != nil {
		c.refuse(PAIProfile, "%v", err)
	}
	c.Verdict.DAC = c.dac
	if c.dac != nil {
		c.checkDACTime()
	}
	if c.dac != nil && c.pai != nil {
		c.checkIssuedByPAI()
	}
}

// checkDACTime looks at the time now. That of its issuers is held against the
// time the DAC was issued: a device must not stop working with their expiry.
func (c *checker) checkDACTime() {
	switch {
	case c.Now.IsZero():
		c.note(NoteTimeUnchecked, "")
	case c.Now.Before(c.dac.NotBefore):
		c.refuse(DACNotYetValid, "it is valid from %v", c.dac.NotBefore)
	case !c.Now.Before(c.dac.NotAfter):
		c.refuse(DACExpired, "it was valid until %v", c.dac.NotAfter)
	}
}

func (c *checker) checkIssuedByPAI() {
	dac, pai := c.dac, c.pai
	if dac.VendorID != pai.VendorID {
		c.refuse(DACVendor, "vendor %v, issued by vendor %v", dac.VendorID, pai.VendorID)
	}
	if pai.ProductID.Present && dac.ProductID != pai.ProductID {
		c.refuse(DACProduct, "product %v, issued for product %v", dac.ProductID, pai.ProductID)
	}
	if !dac.Issuer.Equal(pai.Subject) || dac.AuthorityKeyID != pai.SubjectKeyID {
		c.refuse(DACIssuer, "it names the key %v, which is not %v", dac.AuthorityKeyID, pai.SubjectKeyID)
	}
	if !dac.signedBy(pai) {
		c.refuse(DACSignature, "")
	}
	if !pai.validAt(dac.NotBefore) {
		c.refuse(PAITime, "it is valid from %v to %v, and issued one on %v", pai.NotBefore, pai.NotAfter, dac.NotBefore)
	}
}

// chain finds the PAA and holds the PAI against it.
func (c *checker) chain() {
	if c.pai == nil {
		return
	}
	if c.paa = c.Trust.paa(c.pai); c.paa == nil {
		c.refuse(PAAUnknown, "key %v, vendor %v", c.pai.AuthorityKeyID, c.pai.VendorID)
		return
	}
	c.PAA = c.paa
	if c.paa.Test {
		c.refuse(TestRoot, "key %v", c.paa.SubjectKeyID)
	}
	if c.paa.VendorID.Present && c.paa.VendorID != c.pai.VendorID {
		c.refuse(PAIVendor, "vendor %v, issued by vendor %v", c.pai.VendorID, c.paa.VendorID)
	}
	if !c.pai.Issuer.Equal(c.paa.Subject) {
		c.refuse(PAIIssuer, "it names another issuer")
	}
	if !c.pai.signedBy(c.paa.Certificate) {
		c.refuse(PAISignature, "")
	}
	if c.dac != nil && !c.paa.validAt(c.dac.NotBefore) {
		c.refuse(PAATime, "it is valid from %v to %v, and the device's is of %v",
			c.paa.NotBefore, c.paa.NotAfter, c.dac.NotBefore)
	}
}

// revocation looks DAC and PAI up among the revoked.
func (c *checker) revocation() {
	if c.Revoked == nil {
		c.note(NoteRevocationUnchecked, "")
		return
	}
	if c.dac != nil && c.Revoked.Has(c.dac) {
		c.refuse(DACRevoked, "serial number %X", c.dac.Serial)
	}
	if c.pai != nil && c.Revoked.Has(c.pai) {
		c.refuse(PAIRevoked, "serial number %X", c.pai.Serial)
	}
}
