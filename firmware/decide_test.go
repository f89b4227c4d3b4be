package firmware

import (
	"slices"
	"testing"
	"time"

	"gatehouse/firmware/dcl"
	"gatehouse/firmware/manifest"
)

func lamp(version uint32) Claim {
	return Claim{VendorID: 0xFFF1, ProductID: 0x8001, Hardware: 3, Version: version}
}

// says is a repository that knows versions 1 to 5: 2 burns, and 3 is the least.
func says(from string) Statement {
	return Statement{From: from, Product: manifest.Product{Version: 1, VendorID: 0xFFF1, ProductID: 0x8001, Minimum: 3,
		Bad: []manifest.Bad{{From: 2, To: 2, Reason: "it burns"}}, Releases: []manifest.Release{release(5, nil)}}}
}

func release(version uint32, applies *manifest.Range) manifest.Release {
	return manifest.Release{Version: version, Name: "v", Applies: applies, Size: 1}
}

func recorded(v dcl.Version) *dcl.Product {
	return &dcl.Product{VendorID: 0xFFF1, ProductID: 0x8001, Versions: []dcl.Version{v}}
}

func TestDecide(t *testing.T) {
	expired := says("house")
	expired.Expired = true
	strict := Policy{Unknown: Refuse, Recalled: Refuse, Outdated: Refuse, Uncertified: Refuse, Grace: time.Hour.Milliseconds()}
	patient := Policy{Grace: time.Hour.Milliseconds()}
	for name, c := range map[string]struct {
		claim  Claim
		known  Known
		policy Policy
		want   Verdict
		codes  []Code
		update uint32
		grace  time.Duration
	}{
		"nobody knows it":                {claim: lamp(4), want: Admit, codes: []Code{Unknown}},
		"nobody knows it, by policy":     {claim: lamp(4), policy: strict, want: Refuse, codes: []Code{Unknown}},
		"good":                           {claim: lamp(5), known: Known{Statements: []Statement{says("house")}}, policy: strict, want: Admit},
		"good, and there is a newer":     {claim: lamp(4), known: Known{Statements: []Statement{says("house")}}, want: Admit, update: 5},
		"outdated":                       {claim: lamp(1), known: Known{Statements: []Statement{says("house")}}, want: Quarantine, codes: []Code{Outdated}, update: 5},
		"outdated, by policy":            {claim: lamp(1), known: Known{Statements: []Statement{says("house")}}, policy: strict, want: Refuse, codes: []Code{Outdated}, update: 5, grace: time.Hour},
		"outdated, with grace":           {claim: lamp(1), known: Known{Statements: []Statement{says("house")}}, policy: patient, want: Quarantine, codes: []Code{Outdated}, update: 5, grace: time.Hour},
		"recalled, without grace":        {claim: lamp(2), known: Known{Statements: []Statement{says("house")}}, policy: patient, want: Quarantine, codes: []Code{Recalled, Outdated}, update: 5},
		"allowed to burn":                {claim: lamp(2), known: Known{Statements: []Statement{says("house")}}, policy: Policy{Recalled: Admit, Outdated: Admit}, want: Admit, codes: []Code{Recalled, Outdated}, update: 5},
		"the second recalls it":          {claim: lamp(2), known: Known{Statements: []Statement{{From: "house"}, says("vendor")}}, want: Quarantine, codes: []Code{Recalled, Outdated}, update: 5},
		"an expired statement":           {claim: lamp(2), known: Known{Statements: []Statement{expired}}, want: Quarantine, codes: []Code{Stale, Recalled, Outdated}},
		"an expired statement, and good": {claim: lamp(4), known: Known{Statements: []Statement{expired}}, policy: strict, want: Admit, codes: []Code{Stale}},
		"certified":                      {claim: lamp(4), known: Known{Ledger: recorded(dcl.Version{Version: 4, Status: dcl.Certified})}, policy: strict, want: Admit},
		"revoked":                        {claim: lamp(4), known: Known{Ledger: recorded(dcl.Version{Version: 4, Status: dcl.Revoked})}, want: Quarantine, codes: []Code{Revoked}},
		"withdrawn":                      {claim: lamp(4), known: Known{Ledger: recorded(dcl.Version{Version: 4, Status: dcl.Certified, Invalid: true})}, want: Quarantine, codes: []Code{Invalid}},
		"provisional":                    {claim: lamp(4), known: Known{Ledger: recorded(dcl.Version{Version: 4, Status: dcl.Provisional})}, want: Admit, codes: []Code{Uncertified}},
		"provisional, by policy":         {claim: lamp(4), known: Known{Ledger: recorded(dcl.Version{Version: 4, Status: dcl.Provisional})}, policy: strict, want: Refuse, codes: []Code{Uncertified}},
		"another version is recorded":    {claim: lamp(5), known: Known{Ledger: recorded(dcl.Version{Version: 4, Status: dcl.Certified})}, policy: strict, want: Refuse, codes: []Code{Uncertified}},
		"not asked for":                  {claim: lamp(3), known: Known{Ledger: &dcl.Product{From: 4}}, policy: strict, want: Admit},
		"outdated and revoked":           {claim: lamp(1), known: Known{Statements: []Statement{says("house")}, Ledger: recorded(dcl.Version{Version: 1, Status: dcl.Revoked})}, policy: patient, want: Quarantine, codes: []Code{Outdated, Revoked}, update: 5},
		"a weaker reason last":           {claim: lamp(1), known: Known{Statements: []Statement{says("house")}, Ledger: recorded(dcl.Version{Version: 1})}, want: Quarantine, codes: []Code{Outdated, Uncertified}, update: 5},
		"newest is recalled elsewhere":   {claim: lamp(4), known: Known{Statements: []Statement{says("house")}, Ledger: recorded(dcl.Version{Version: 5, Status: dcl.Revoked})}, want: Admit, codes: []Code{Uncertified}},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.claim, c.known, c.policy)
			var codes []Code
			for _, r := range d.Reasons {
				codes = append(codes, r.Code)
			}
			update := uint32(0)
			if d.Update != nil {
				update = d.Update.Release.Version
			}
			if d.Verdict != c.want || !slices.Equal(codes, c.codes) || update != c.update || d.Grace != c.grace {
				t.Errorf("%v, update %d, grace %v: %+v", d.Verdict, update, d.Grace, d.Reasons)
			}
		})
	}
}

// TestAttested has a device tell by its attestation what it runs.
func TestAttested(t *testing.T) {
	ledger := recorded(dcl.Version{Version: 4, Status: dcl.Certified, Firmware: "0a0b"})
	ledger.Versions = append(ledger.Versions, dcl.Version{Version: 5, Status: dcl.Certified, Firmware: "Cws="}, dcl.Version{Version: 6, Status: dcl.Certified, Firmware: "raw"})
	house := Statement{From: "house", Product: manifest.Product{Releases: []manifest.Release{{Version: 7, Firmware: "07"}}}}
	strict := Policy{Uncertified: Refuse}
	for name, c := range map[string]struct {
		version  uint32
		firmware string
		known    Known
		want     uint32
		attested bool
		verdict  Verdict
		code     Code
	}{
		"nobody tells":         {4, "\x0a\x0b", Known{}, 4, false, Admit, Unknown},
		"it gives none":        {4, "", Known{Ledger: ledger}, 4, false, Admit, ""},
		"in hex":               {4, "\x0a\x0b", Known{Ledger: ledger}, 4, true, Admit, ""},
		"of another, base64":   {5, "\x0b\x0b", Known{Ledger: ledger}, 5, true, Admit, ""},
		"as it is":             {6, "raw", Known{Ledger: ledger}, 6, true, Admit, ""},
		"a repository's":       {7, "\x07", Known{Statements: []Statement{house}}, 7, true, Admit, ""},
		"it lies":              {6, "\x0a\x0b", Known{Ledger: ledger}, 4, true, Quarantine, Other},
		"it lies, and is told": {6, "\x07", Known{Ledger: ledger, Statements: []Statement{house}}, 7, true, Refuse, Other},
		"nobody knows it":      {6, "\x99", Known{Ledger: ledger}, 6, false, Refuse, Unheard},
	} {
		t.Run(name, func(t *testing.T) {
			claim := lamp(c.version)
			claim.Firmware = []byte(c.firmware)
			d := Decide(claim, c.known, strict)
			var code Code
			if len(d.Reasons) > 0 {
				code = d.Reasons[0].Code
			}
			if d.Version != c.want || d.Attested != c.attested || d.Verdict != c.verdict && c.code != Unknown || code != c.code {
				t.Errorf("version %d, attested %v, %v: %+v", d.Version, d.Attested, d.Verdict, d.Reasons)
			}
		})
	}
}

func TestNext(t *testing.T) {
	to := func(low, high uint32) *manifest.Range { return &manifest.Range{Min: low, Max: high} }
	statement := func(r ...manifest.Release) Statement {
		return Statement{From: "house", Product: manifest.Product{Releases: r}}
	}
	other := release(9, nil)
	other.Hardware = &manifest.Hardware{Min: 4, Max: 9}
	burns := statement()
	burns.Product.Bad = []manifest.Bad{{From: 7, To: 7}}
	for name, c := range map[string]struct {
		known []Statement
		from  uint32
		want  uint32
	}{
		"none":                             {[]Statement{statement()}, 1, 0},
		"the newest":                       {[]Statement{statement(release(5, nil), release(7, nil), release(6, nil))}, 1, 7},
		"none is newer":                    {[]Statement{statement(release(5, nil))}, 5, 0},
		"for other hardware":               {[]Statement{statement(release(5, nil), other)}, 1, 5},
		"not for this version":             {[]Statement{statement(release(5, nil), release(7, to(5, 6)))}, 2, 5},
		"and then from there":              {[]Statement{statement(release(5, nil), release(7, to(5, 6)))}, 5, 7},
		"a step that leads further":        {[]Statement{statement(release(5, nil), release(6, nil), release(7, to(5, 5)))}, 1, 5},
		"the second knows one":             {[]Statement{statement(), statement(release(5, nil))}, 1, 5},
		"the first is believed":            {[]Statement{statement(release(5, nil)), statement(release(7, nil))}, 1, 5},
		"recalled by the second":           {[]Statement{statement(release(5, nil), release(7, nil)), burns}, 1, 5},
		"not over one that is recalled":    {[]Statement{statement(release(7, nil), release(8, to(7, 7)), release(5, nil)), burns}, 1, 5},
		"not towards one that is recalled": {[]Statement{statement(release(5, nil), release(6, nil), release(7, to(5, 5))), burns}, 1, 6},
		"expired":                          {[]Statement{{From: "house", Expired: true, Product: statement(release(5, nil)).Product}}, 1, 0},
	} {
		got := uint32(0)
		if target := next(lamp(c.from), Known{Statements: c.known}); target != nil {
			got = target.Release.Version
		}
		if got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
