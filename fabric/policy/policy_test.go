package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/fabric/cert"
)

func TestAdministratorsComeFirst(t *testing.T) {
	gateways, zone := cert.NewCAT(1, 3), cert.NewCAT(0x1000, 1)
	acl := ACL(gateways, zone)
	if acl[0] != (Entry{Administer, gateways}) {
		t.Errorf("first entry is %+v", acl[0])
	}
}

func TestDiff(t *testing.T) {
	a, b, c := Entry{Administer, 1<<16 | 1}, Entry{Operate, 2<<16 | 1}, Entry{Operate, 3<<16 | 1}
	for _, test := range []struct{ want, have, missing, extra []Entry }{
		{[]Entry{a, b}, []Entry{a, b}, nil, nil},
		{[]Entry{a, b}, []Entry{b, a}, nil, nil},
		{[]Entry{a, b}, []Entry{a, c}, []Entry{b}, []Entry{c}},
		{[]Entry{a}, nil, []Entry{a}, nil},
	} {
		missing, extra := Diff(test.want, test.have)
		if d := cmp.Diff(test.missing, missing) + cmp.Diff(test.extra, extra); d != "" {
			t.Errorf("%v, %v: %s", test.want, test.have, d)
		}
	}
}
