package chaos

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"gatehouse/fabric"
)

// checkTime bounds the search for an order of one key's calls.
const checkTime = 5 * time.Second

// Check holds a history against what the trust state promises: for every key
// there is an order of the calls, each between its beginning and its end, that
// explains all answers; and no answer is older than one that was there before
// its call.
func Check(ops []Op) error {
	byKey := make(map[string][]Op)
	for _, o := range ops {
		if o.Kind != AddZone {
			byKey[o.Key] = append(byKey[o.Key], o)
		}
	}
	var broken []error
	for _, key := range slices.Sorted(keys(byKey)) {
		broken = append(broken, linearizable(key, byKey[key]))
	}
	return errors.Join(append(broken, ordered(ops))...)
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func linearizable(key string, all []Op) error {
	ops := needed(all)
	history := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		history[i] = porcupine.Operation{Input: o, Output: o.Outcome, Call: o.Call, Return: o.Return}
	}
	switch porcupine.CheckOperationsTimeout(model, history, checkTime) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%s: its %d calls could not be checked within %v:\n%s", key, len(ops), checkTime, list(all))
	}
	return fmt.Errorf("%s: no order of these calls explains the answers:\n%s", key, list(all))
}

// needed leaves out calls of unknown outcome that explain nothing, each of
// which would double the search: all removals but the first to begin, which can
// be when any other was, and names that nobody saw.
func needed(ops []Op) []Op {
	saw := make(map[string]bool)
	first := int64(never)
	for _, o := range ops {
		switch {
		case o.Kind == Read:
			saw[o.Saw.Name] = true
		case o.Kind == Remove && o.Outcome == Unknown:
			first = min(first, o.Call)
		}
	}
	return slices.DeleteFunc(slices.Clone(ops), func(o Op) bool {
		return o.Outcome == Unknown && (o.Kind == Remove && o.Call != first || o.Kind == Rename && !saw[o.Value])
	})
}

// list is the calls, one a line; of reads that saw the same only the first and
// the last.
func list(ops []Op) string {
	ops = slices.SortedFunc(slices.Values(ops), func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	var b strings.Builder
	for i, o := range ops {
		if o.Kind == Read && i > 0 && i < len(ops)-1 && ops[i-1].Kind == Read && ops[i-1].Saw == o.Saw && ops[i+1].Kind == Read && ops[i+1].Saw == o.Saw {
			continue
		}
		fmt.Fprintf(&b, "\t%v\n", o)
	}
	return b.String()
}

// model is one key of the trust state: a device, a gateway or a network. A
// call of unknown outcome is done at any time after it began, which may be
// after all that anybody saw.
var model = porcupine.Model{
	Init: func() any { return Entry{} },
	Step: func(state, input, _ any) (bool, any) {
		return step(state.(Entry), input.(Op))
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprint(input) },
}

func step(e Entry, o Op) (bool, Entry) {
	if o.Kind == Read {
		return e == o.Saw, e
	}
	if o.Kind == GetNetwork {
		return e.Name == o.Value, e
	}
	next, legal := apply(e, o)
	switch o.Outcome {
	case Done:
		return legal, next
	case Unknown:
		if legal {
			return true, next
		}
		return true, e
	}
	switch o.Code {
	case fabric.CodeUsed:
		return e.Phase != 0, e
	case fabric.CodeUnknown:
		return e.Phase == 0 || e.Phase == gone, e
	case fabric.CodePhase:
		return !legal && e.Phase != 0 && e.Phase != gone, e
	}
	return true, e // of something else than the key's state
}

// apply is what a call does to a key, and whether it can.
func apply(e Entry, o Op) (Entry, bool) {
	switch o.Kind {
	case Reserve:
		return Entry{fabric.Reserved, "", o.Value}, e.Phase == 0
	case Sign:
		return e, e.Phase == fabric.Reserved
	case Issue:
		return Entry{fabric.Issued, o.Value, e.Name}, e.Phase == fabric.Reserved
	case Admit:
		return Entry{fabric.Admitted, e.Hash, e.Name}, e.Phase == fabric.Issued
	case Abandon:
		return Entry{Phase: gone}, e.Phase == fabric.Reserved || e.Phase == fabric.Issued
	case Remove:
		return Entry{Phase: gone}, e.Phase == fabric.Admitted
	case Rename:
		return Entry{e.Phase, e.Hash, o.Value}, e.Phase >= fabric.Reserved && e.Phase <= fabric.Admitted
	case Enroll:
		return Entry{Phase: enrolled}, e.Phase == 0
	case Evict:
		return Entry{Phase: gone}, e.Phase == enrolled
	case SetNetwork:
		return Entry{Name: o.Value}, true
	}
	return e, false
}

// ordered checks that no call came back with a State older than one that
// another had before it began.
func ordered(ops []Op) error {
	ended := slices.DeleteFunc(slices.Clone(ops), func(o Op) bool { return o.Index == 0 || o.Outcome == Unknown })
	begun := slices.SortedFunc(slices.Values(ended), func(a, b Op) int { return cmp.Compare(a.Call, b.Call) })
	slices.SortFunc(ended, func(a, b Op) int { return cmp.Compare(a.Return, b.Return) })
	var newest Op
	for _, o := range begun {
		for len(ended) > 0 && ended[0].Return < o.Call {
			if ended[0].Index > newest.Index {
				newest = ended[0]
			}
			ended = ended[1:]
		}
		if o.Index < newest.Index {
			return fmt.Errorf("an answer is older than what was known before:\n\t%v\n\t%v", newest, o)
		}
	}
	return nil
}
