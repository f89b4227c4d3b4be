package seal

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MinPassphrase is the shortest passphrase of a recovery kit, in characters.
const MinPassphrase = 12

const (
	minDistinct = 5 // different characters
	minLetters  = 5 // left of a passphrase without the words everybody tries
)

var (
	errShort = fmt.Errorf("the passphrase has fewer than %d characters: several words are best", MinPassphrase)
	errWeak  = errors.New("the passphrase is too easy to guess: several words are best")
)

// tried are words that guesses begin with, and rows of keys.
var tried = []string{"password", "passwort", "passphrase", "letmein", "welcome", "iloveyou", "administrator", "admin", "gatehouse",
	"matter", "smarthome", "home", "secret", "qwertyuiop", "qwertzuiop", "qwerty", "qwertz", "azerty", "asdfghjkl", "yxcvbnm", "zxcvbnm"}

// CheckPassphrase refuses what would be guessed first. It is no measure of
// strength.
func CheckPassphrase(p string) error {
	switch {
	case !utf8.ValidString(p):
		return errors.New("the passphrase is not UTF-8")
	case utf8.RuneCountInString(p) < MinPassphrase:
		return errShort
	case repeated(p) || runs(p) || common(p):
		return errWeak
	}
	return nil
}

// repeated reports whether p is something too short, several times.
func repeated(p string) bool {
	distinct := map[rune]bool{}
	for _, r := range p {
		distinct[r] = true
	}
	period := strings.Index((p + p)[1:], p) + 1
	return len(distinct) < minDistinct || utf8.RuneCountInString(p[:period]) < MinPassphrase
}

// runs reports whether p mostly counts up or down: abcdef, 987654.
func runs(p string) bool {
	steps, last := 0, rune(-9)
	for _, r := range p {
		if d := r - last; -1 <= d && d <= 1 {
			steps++
		}
		last = r
	}
	return 2*steps > utf8.RuneCountInString(p)
}

// common reports whether little is left of p without the words everybody
// tries, digits and signs.
func common(p string) bool {
	p = strings.ToLower(p)
	for _, w := range tried {
		p = strings.ReplaceAll(p, w, "")
	}
	letters := 0
	for _, r := range p {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	return letters < minLetters
}
