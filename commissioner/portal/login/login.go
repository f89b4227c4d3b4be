// Package login is what proves that somebody is who they say: a password, a
// one-time code, a passkey, a recovery code; and what bounds how often a
// stranger may try.
//
// It promises that no proof can be printed, that a wrong proof says nothing of
// which part of it was wrong, that a name which nobody has costs as much as one
// that somebody has, and that neither memory nor a processor is filled by
// strangers. It never stores, never listens and keeps no session: the caller
// keeps Credentials sealed, and asks. Every refusal is a commissioner.Failure
// with one of the codes below.
//
// Sources: NIST SP 800-63B (passwords), RFC 9106 (Argon2), RFC 6238 (one-time
// codes), Web Authentication Level 3 (passkeys).
package login

import (
	"fmt"

	"gatehouse/commissioner"
)

// Codes of refusals.
const (
	CodeWrong       commissioner.Code = "login-wrong"
	CodeBusy        commissioner.Code = "login-busy"
	CodeWait        commissioner.Code = "login-wait"
	CodeUnreadable  commissioner.Code = "credentials-unreadable"
	CodeNewer       commissioner.Code = "credentials-newer"
	CodeNameTaken   commissioner.Code = "credential-name-taken"
	CodeNameInvalid commissioner.Code = "credential-name-invalid"
	CodeNoSuch      commissioner.Code = "credential-unknown"

	CodePasswordShort  commissioner.Code = "password-too-short"
	CodePasswordLong   commissioner.Code = "password-too-long"
	CodePasswordText   commissioner.Code = "password-unusable"
	CodePasswordCommon commissioner.Code = "password-too-easy"

	CodeCodeWrong commissioner.Code = "code-wrong"
	CodeCodeUsed  commissioner.Code = "code-used"
	CodeCodesFull commissioner.Code = "authenticators-full"

	CodePasskeyAddress    commissioner.Code = "passkey-needs-name"
	CodePasskeyRefused    commissioner.Code = "passkey-refused"
	CodePasskeyExpired    commissioner.Code = "passkey-expired"
	CodePasskeyUsed       commissioner.Code = "passkey-replayed"
	CodePasskeyUnverified commissioner.Code = "passkey-unverified"
	CodePasskeyUnknown    commissioner.Code = "passkey-unknown"
	CodePasskeyKnown      commissioner.Code = "passkey-known"
	CodePasskeyCloned     commissioner.Code = "passkey-cloned"
	CodePasskeysFull      commissioner.Code = "passkeys-full"
)

var explanations = map[commissioner.Code]struct{ message, remedy string }{
	CodeWrong:       {"the name or the password is not right", "try again; the case of letters counts"},
	CodeBusy:        {"too many people log in at this moment", "try again in a few seconds"},
	CodeWait:        {"there were too many wrong attempts", "wait, then try again; a passkey, or a browser that was logged in before, is not held up"},
	CodeUnreadable:  {"what was stored of this person's login is damaged", "let an administrator set a new password for this person"},
	CodeNewer:       {"this person's login was stored by a newer release", "update this gateway"},
	CodeNameTaken:   {"there is one of this name already", "choose another name, or remove the other one first"},
	CodeNameInvalid: {"this name cannot be used", fmt.Sprintf("choose one of at most %d letters, digits and signs", maxName)},
	CodeNoSuch:      {"there is none of this name", "look at the list again"},

	CodePasswordShort:  {"the password is too short", fmt.Sprintf("take at least %d characters; a few words in a row are easy to remember", minPassword)},
	CodePasswordLong:   {"the password is too long", fmt.Sprintf("take at most %d characters", maxPassword)},
	CodePasswordText:   {"the password holds characters that cannot be typed", "take letters, digits, spaces and signs"},
	CodePasswordCommon: {"the password is easily guessed", "take a few words that have nothing to do with each other, with you or with the home"},

	CodeCodeWrong: {"the code is not right", "take the code that is shown now; if it stays so, set the clock of the phone"},
	CodeCodeUsed:  {"this code was used already", "wait for the next one"},
	CodeCodesFull: {"no further authenticator app can be added", "remove one first"},

	CodePasskeyAddress:    {"passkeys need the gateway's name: they do not work where it is reached by a number", "open the gateway by its name, and try again"},
	CodePasskeyRefused:    {"the passkey's answer was refused", "try again; if it stays so, remove the passkey and add it anew"},
	CodePasskeyExpired:    {"the passkey's answer came too late, or was for another gateway's question", "try again"},
	CodePasskeyUsed:       {"this answer of the passkey was used already", "try again"},
	CodePasskeyUnverified: {"the passkey did not check who you are", "unlock it by finger, face or PIN; give the security key a PIN if it has none"},
	CodePasskeyUnknown:    {"this passkey is not known here", "log in another way, then add it"},
	CodePasskeyKnown:      {"this passkey was added already", "nothing needs to be done"},
	CodePasskeyCloned:     {"the passkey seems to have been copied", "remove it, add it anew, and look who was logged in"},
	CodePasskeysFull:      {"no further passkey can be added", "remove one first"},
}

// fail is the Failure of a code.
func fail(code commissioner.Code) *commissioner.Failure {
	e := explanations[code]
	return &commissioner.Failure{Code: code, Message: e.message, Remedy: e.remedy}
}

// because is fail with what was seen, which must hold no secret.
func because(code commissioner.Code, detail string) *commissioner.Failure {
	f := fail(code)
	f.Message = fmt.Sprintf("%s (%s)", f.Message, detail)
	return f
}
