package login

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of ours. NIST SP 800-63B asks for at least 8 characters of a password
// that has a second factor beside it, and for no rules of composition.
const (
	minPassword = 10  // runes, normalised
	maxPassword = 256 // runes, normalised
	maxTyped    = 4 * maxPassword * utf8.UTFMax

	// minSurprises is how many guesses in a row a password must at least be:
	// a rune is one, and so is a whole word, sequence or repetition that
	// guessers try first.
	minSurprises = 5
	// minRun is the shortest sequence or repetition that counts as one.
	minRun = 3
	// minNamed is the shortest part of a name that is looked for.
	minNamed = 3
)

// normal is a password as it is hashed: Unicode's form NFKC, since keyboards
// differ in how they compose letters. Clear it.
func normal(password string) ([]byte, error) {
	if len(password) > maxTyped {
		return nil, fail(CodePasswordLong)
	}
	if !utf8.ValidString(password) {
		return nil, fail(CodePasswordText)
	}
	text := norm.NFKC.Bytes([]byte(password))
	switch n := utf8.RuneCount(text); {
	case slices.ContainsFunc([]rune(string(text)), unicode.IsControl):
		clear(text)
		return nil, fail(CodePasswordText)
	case n < minPassword:
		clear(text)
		return nil, fail(CodePasswordShort)
	case n > maxPassword:
		clear(text)
		return nil, fail(CodePasswordLong)
	}
	return text, nil
}

// Acceptable says whether a password may be set: nil, or a failure that says
// what to do. names are what guessers know: of the person, of the home.
func Acceptable(password string, names ...string) error {
	text, err := normal(password)
	if err != nil {
		return err
	}
	defer clear(text)
	lower := strings.ToLower(string(text))
	if surprises([]rune(lower), words(names)) < minSurprises || common[strings.Join(parts(lower), "")] {
		return fail(CodePasswordCommon)
	}
	return nil
}

// words are the names and their parts, as they would stand in a password.
func words(names []string) map[string]bool {
	found := map[string]bool{}
	for _, name := range names {
		if len(name) > maxTyped {
			continue
		}
		name = strings.ToLower(norm.NFKC.String(name))
		for _, word := range append(parts(name), name, strings.Join(parts(name), "")) {
			if n := utf8.RuneCountInString(word); n >= minNamed && n <= maxPassword {
				found[word] = true
			}
		}
	}
	return found
}

func parts(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}

// surprises is the least number of guesses that a password is put together of.
func surprises(text []rune, named map[string]bool) int {
	longest := longestCommon
	for name := range named {
		longest = max(longest, utf8.RuneCountInString(name))
	}
	plain, least := unmasked(text), make([]int, len(text)+1) // for the first so many runes
	for end := range least[1:] {
		least[end+1] = len(text)
	}
	for start := range text {
		least[start+1] = min(least[start+1], least[start]+1)
		along := run(text[start:])
		for end := start + 2; end <= len(text); end++ {
			size, part := end-start, text[start:end]
			word := func(p []rune) bool { return common[string(p)] || named[string(p)] }
			if size >= minRun && size <= along || size <= longest && (word(part) || word(plain[start:end])) ||
				size <= start && slices.Equal(text[start-size:start], part) { // what stood before, again
				least[end] = min(least[end], least[start]+1)
			}
		}
	}
	return least[len(text)]
}

// run is how many runes from the first on go by equal steps of the alphabet or
// the digits, or along a row of a keyboard.
func run(text []rune) int {
	if len(text) < minRun {
		return 0
	}
	size, step := 2, text[1]-text[0]
	if step < -1 || step > 1 {
		size = 1
	}
	for size > 1 && size < len(text) && text[size]-text[size-1] == step {
		size++
	}
	for _, row := range rows {
		along := 0
		for along < len(text) && strings.Contains(row, string(text[:along+1])) {
			along++
		}
		size = max(size, along)
	}
	return size
}

// unmasked takes the usual digits and signs for the letters that they stand for.
func unmasked(text []rune) []rune {
	plain := slices.Clone(text)
	for i, r := range plain {
		if at := strings.IndexRune(masks, r); at >= 0 {
			plain[i] = rune(masked[at])
		}
	}
	return plain
}
