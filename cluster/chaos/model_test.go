package chaos

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/fabric"
)

// paired is the history of a device that was admitted, and then asked for again
// and again to be removed and renamed, by callers who heard nothing.
func paired(more ...Op) []Op {
	ops := []Op{
		{Kind: Reserve, Value: "lamp", Outcome: Done, Call: 1, Return: 2},
		{Kind: Issue, Value: "hash", Outcome: Done, Call: 3, Return: 4},
		{Kind: Admit, Outcome: Done, Call: 5, Return: 6},
	}
	for i := range int64(30) {
		ops = append(ops, Op{Kind: Remove, Outcome: Unknown, Call: 10 + 2*i, Return: never},
			Op{Kind: Rename, Value: fmt.Sprint("lamp ", i), Outcome: Unknown, Call: 11 + 2*i, Return: never})
	}
	for i, o := range more {
		o.Call, o.Return = int64(1000+2*i), int64(1001+2*i)
		ops = append(ops, o)
	}
	return ops
}

func saw(phase fabric.Phase, name string) Op {
	e := Entry{Phase: phase}
	if phase != gone {
		e.Hash, e.Name = "hash", name
	}
	return Op{Kind: Read, Saw: e, Outcome: Done}
}

// TestUnknownOutcomes checks histories with more calls of unknown outcome than
// all orders of could be tried.
func TestUnknownOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		more []Op
		want string
	}{
		"nothing was done":           {[]Op{saw(fabric.Admitted, "lamp")}, ""},
		"removed late":               {[]Op{saw(fabric.Admitted, "lamp"), saw(gone, "")}, ""},
		"renamed late":               {[]Op{saw(fabric.Admitted, "lamp"), saw(fabric.Admitted, "lamp 7"), saw(fabric.Admitted, "lamp 3")}, ""},
		"renamed, then removed":      {[]Op{saw(fabric.Admitted, "lamp 7"), saw(gone, "")}, ""},
		"back from the dead":         {[]Op{saw(gone, ""), saw(fabric.Admitted, "lamp")}, "no order"},
		"a name that nobody gave":    {[]Op{saw(fabric.Admitted, "lamp 30")}, "no order"},
		"a name for the second time": {[]Op{saw(fabric.Admitted, "lamp 7"), saw(fabric.Admitted, "lamp 3"), saw(fabric.Admitted, "lamp 7")}, "no order"},
		"not admitted any more":      {[]Op{saw(fabric.Issued, "lamp")}, "no order"},
	} {
		t.Run(name, func(t *testing.T) {
			err := linearizable("key", paired(c.more...))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %.200v", err)
			}
		})
	}
}
