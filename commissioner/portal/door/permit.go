package door

import (
	"errors"

	"gatehouse/commissioner"
	"gatehouse/fabric"
)

// Need is what an act takes of whoever asks for it.
type Need uint8

const (
	Nothing    Need = iota + 1 // anybody may, strangers too
	Known                      // anybody who is known
	Self                       // a person with a browser: what is between them and the gateway
	Look                       // to see the home
	Operate                    // to switch its devices
	Arrange                    // to name things, and to share devices
	Approve                    // to let devices in
	Review                     // to read what was decided, and the home's rules
	Administer                 // to change whom the home trusts
	Own                        // to have the gateway's own socket, or be another gateway
)

func (n Need) String() string {
	return [...]string{"none", "nothing", "known", "self", "look", "operate", "arrange", "approve", "review", "administer", "own"}[min(n, Own)]
}

// Act is what a request does.
type Act struct {
	Need Need
	// Critical acts take a second factor shown just now.
	Critical bool
	// Delegable are critical acts that a program may do whose token an
	// administrator gave that role: the giving took the second factor.
	Delegable bool
}

// needs are what each role has.
var needs = map[fabric.Role][]Need{
	fabric.Guest:         {Nothing, Known, Self, Look, Operate},
	fabric.Resident:      {Nothing, Known, Self, Look, Operate, Arrange},
	fabric.Auditor:       {Nothing, Known, Self, Look, Review},
	fabric.Administrator: {Nothing, Known, Self, Look, Operate, Arrange, Approve, Review, Administer},
}

// Codes of refusals.
const (
	CodeLogin        commissioner.Code = "login-needed"
	CodeRole         commissioner.Code = "role-insufficient"
	CodeSecondFactor commissioner.Code = "second-factor-needed"
)

// May refuses an act, or gives nil. approve is the role that may let devices in
// beside administrators.
func (w Who) May(a Act, approve fabric.Role) error {
	switch {
	case a.Need == Nothing || w.Kind == Local || w.Kind == Gateway:
		return nil
	case !w.Known():
		return &commissioner.Failure{Code: CodeLogin, Message: "this is for people of the home", Remedy: "log in, or give a token"}
	case w.Kind == Token && (a.Need == Self || a.Critical && !a.Delegable):
		return &commissioner.Failure{Code: CodeRole, Message: "a program may not do this", Remedy: "do it in the gateway's own app"}
	case !has(w.Role, a.Need, approve) || !has(w.Limit, a.Need, approve):
		return &commissioner.Failure{Code: CodeRole, Message: "somebody who is here as " + min(w.Role, w.Limit).String() + " may not do this", Remedy: "ask an administrator of the home"}
	case !a.Critical || w.Fresh || w.Kind == Token:
		return nil
	}
	return &commissioner.Failure{Code: CodeSecondFactor, Message: "this takes a second proof that it is you", Remedy: "confirm with a passkey, a code of your authenticator app, or a press of the gateway's button"}
}

func has(r fabric.Role, n Need, approve fabric.Role) bool {
	for _, have := range needs[r] {
		if have == n {
			return true
		}
	}
	return n == Approve && approve != 0 && (r == fabric.Resident || r == fabric.Guest) && r >= approve
}

// refused reports whether err is one of May's.
func Refused(err error) bool {
	var f *commissioner.Failure
	return errors.As(err, &f) && (f.Code == CodeLogin || f.Code == CodeRole || f.Code == CodeSecondFactor)
}
