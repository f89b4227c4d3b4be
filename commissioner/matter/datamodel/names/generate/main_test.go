package main

import (
	"bytes"
	"strings"
	"testing"
)

const definitions = `// a comment
enum Global : enum8 {
  kOne = 1;
}

/** A comment
  over two lines. */
provisional cluster Lamp = 6 {
  revision 2; // NOTE: nothing

  shared bitmap Bits : bitmap8 {
    kBit = 0x1;
  }
  fabric_scoped struct Part {
    optional nullable Global one = 0;
    nullable fabric_sensitive char_string<3> two[] = 1;
  }

  fabric_sensitive info event access(read: administer) Happened = 1 {
    Part part = 0;
  }
  attribute access(read: manage, write: administer) optional int16s level = 3;
  readonly attribute nullable Part parts[] = 4;
  readonly attribute bitmap32 featureMap = 65532;
  request struct StepRequest {
    Bits bits = 0;
  }
  response struct StepResponse = 9 {
    octet_string<8> data = 0;
  }
  /** does it */
  timed command access(invoke: administer) Step(StepRequest): StepResponse = 8;
  command Stop(): DefaultSuccess = 10;
}
cluster Test = 4294048773 {
  readonly attribute boolean b = 0;
}
`

const made = `=6 Lamp
sPart
 0 one u?~
 1 two t*~
a3 level i+!
a4 parts Part*~
r9 StepResponse
 0 data o
c8 Step@! StepResponse
 0 bits u
c10 Stop
e1 Happened
 0 part Part
`

func TestGenerate(t *testing.T) {
	var out bytes.Buffer
	if err := generate(strings.NewReader(definitions), &out); err != nil || out.String() != made {
		t.Errorf("%v:\n%s", err, out.String())
	}
	for what, change := range map[string][2]string{
		"a new form":   {"revision 2;", "reversion 2;"},
		"a new type":   {"int16s level", "int16z level"},
		"no request":   {"Step(StepRequest)", "Step(StepDemand)"},
		"an open ends": {"  readonly attribute boolean b = 0;\n}", ""},
	} {
		if err := generate(strings.NewReader(strings.Replace(definitions, change[0], change[1], 1)), &out); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}
