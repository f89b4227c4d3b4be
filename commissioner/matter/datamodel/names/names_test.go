package names

import (
	"runtime"
	"strings"
	"testing"

	"gatehouse/commissioner/matter/interaction"
)

// TestTable decodes all of it, and finds nothing undefined.
func TestTable(t *testing.T) {
	if n := len(All()); n < 150 {
		t.Fatalf("the table has %d clusters", n)
	}
	whole := func(where string, typ Type) {
		if !strings.ContainsRune("uibtofds", rune(typ.Kind)) || (typ.Kind == Structed) != (typ.Struct != nil) {
			t.Errorf("%s has the type %c %v", where, typ.Kind, typ.Struct)
		}
	}
	var deep func(s *Struct, left int) bool
	deep = func(s *Struct, left int) bool {
		for _, f := range s.Fields {
			if f.Struct != nil && (left == 0 || deep(f.Struct, left-1)) {
				return true
			}
		}
		return false
	}
	fields := func(where string, s *Struct) {
		if deep(s, 6) {
			t.Errorf("%s is a struct of structs without end", where)
		}
		for _, f := range s.Fields {
			whole(where+"."+f.Name, f.Type)
			if f.Struct != nil && len(f.Struct.Fields) == 0 {
				t.Errorf("%s.%s is a struct without fields", where, f.Name)
			}
		}
	}
	for _, id := range All() {
		c := Of(id)
		if c == nil || c.ID != id || c.Name == "" || Of(id) != c {
			t.Fatalf("cluster %d is %v", id, c)
		}
		for _, a := range c.Attributes {
			whole(c.Name+"."+a.Name, a.Type)
		}
		for _, k := range c.Commands {
			fields(c.Name+"."+k.Name, &k.Struct)
			if k.Response != nil {
				fields(c.Name+"."+k.Response.Name, &k.Response.Struct)
			}
		}
		for _, e := range c.Events {
			fields(c.Name+"."+e.Name, &e.Struct)
		}
	}
	if Of(0xfff1fc05) != nil {
		t.Error("a cluster of tests is in the table")
	}
}

func TestLookup(t *testing.T) {
	locks := Of(257)
	for _, name := range []string{"SetCredential", "setCredential", "set_credential"} {
		k := locks.Command(name)
		if k == nil || k.ID != 34 || !k.Timed || !k.Administer || k.Response == nil || k.Response.ID != 35 {
			t.Fatalf("%s is %+v", name, k)
		}
		f, ok := k.Named("credentialindex")
		if ok {
			t.Errorf("a struct's field is the command's: %+v", f)
		}
		if f, ok = k.Tagged(1); !ok || f.Struct == nil || f.Struct.Name != "CredentialStruct" {
			t.Errorf("field 1 is %+v", f)
		}
	}
	if k := Of(6).Command("toggle"); k == nil || k.Response != nil || len(k.Fields) != 0 || k.Timed {
		t.Errorf("toggle is %+v", k)
	}
	acl, _ := Of(31).Attribute(0)
	if !acl.List || acl.Kind != Structed || !acl.Writable || !acl.Administer {
		t.Errorf("the ACL is %+v", acl)
	}
	if a, ok := Of(6).Attribute(0xfffc); !ok || a.Kind != Unsigned {
		t.Errorf("the feature map is %+v", a)
	}
	if a, ok := Of(513).Attribute(18); !ok || a.Kind != Signed || !a.Writable || a.Administer {
		t.Errorf("a setpoint is %+v", a)
	}
	if e := Of(59).Events[interaction.EventID(1)]; e == nil || e.Name != "InitialPress" || e.Fields[0].Name != "newPosition" {
		t.Errorf("a press is %+v", e)
	}
	guide := Of(0x504).Command("GetProgramGuide") // which the definitions have wrong
	if f, _ := guide.Tagged(7); f.Name != "data" || len(guide.Fields) != 8 {
		t.Errorf("the programme guide is %+v", guide)
	}
}

func TestSpelling(t *testing.T) {
	for name, camel := range map[string]string{
		"groupID": "groupId", "PINCode": "pinCode", "PAKEPasscodeVerifier": "pakePasscodeVerifier", "IPv4Addresses": "iPv4Addresses",
		"webRTCSessionID": "webRtcSessionId", "maxHDRFPS": "maxHdrfps", "externalIDList": "externalIdList", "LQIIn": "lqiIn", "noc": "noc",
		"SDPMLineIndex": "sdpmLineIndex", "percent100ths": "percent100ths", "position100thsValue": "position100thsValue", "x1": "x1", "URLs": "urLs", "": "",
		"requirePINforRemoteOperation": "requirePiNforRemoteOperation", "A": "a", "AB": "ab", "colorTempPhysicalMinMireds2x": "colorTempPhysicalMinMireds2X",
	} {
		if got := Camel(name); got != camel {
			t.Errorf("%s is spelt %s, not %s", name, got, camel)
		}
		if Plain(name) != Plain(camel) {
			t.Errorf("%s and %s are not the same", name, camel)
		}
	}
}

// TestMemory holds what the package promises of its size.
func TestMemory(t *testing.T) {
	var before, after runtime.MemStats
	for _, id := range All() {
		Of(id)
	}
	known.mu.Lock()
	clear(known.decoded)
	known.mu.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, id := range All() {
		Of(id)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("all clusters take %d octets", grown)
	} else {
		t.Logf("all clusters take %d octets, their text %d", grown, len(table))
	}
	if len(table) > 150_000 {
		t.Errorf("the table has %d octets", len(table))
	}
}
