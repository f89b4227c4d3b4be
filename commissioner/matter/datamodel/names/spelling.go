package names

import "strings"

// Plain is what all spellings of a name have in common: groupID, groupId,
// GroupID and group_id are the same.
func Plain(name string) string {
	for i := range len(name) {
		if c := name[i]; c < '0' || c > '9' && c < 'a' || c > 'z' {
			return strings.ReplaceAll(strings.ToLower(name), "_", "")
		}
	}
	return name
}

// Camel spells a name as matter.js does: words in lower case that begin with
// a capital, but for the first. A new word begins at a capital behind a small
// letter, at the last capital of a row that small letters follow, and around
// a digit. The names are ASCII.
func Camel(name string) string {
	b := []byte(name)
	for i, first := 0, true; i < len(b); first = false {
		end := i + 1
		switch {
		case digit(b[i]):
		case small(b[i]):
			for end < len(b) && small(b[end]) {
				end++
			}
		default:
			for end < len(b) && capital(b[end]) {
				end++
			}
			if end < len(b) && small(b[end]) {
				if end > i+1 {
					end-- // the next word's
				} else {
					for end < len(b) && small(b[end]) {
						end++
					}
				}
			}
		}
		word(b[i:end], first, i > 0 && digit(b[i-1]))
		i = end
	}
	return string(b)
}

// word puts one word in its case. Behind a digit it begins with a capital,
// but that of an ordinal: 100ths.
func word(w []byte, first, behindDigit bool) {
	ordinal := behindDigit && strings.EqualFold(string(w), "ths")
	for i, c := range w {
		switch head := i == 0 && !first && !ordinal; {
		case head && small(c):
			w[i] -= 'a' - 'A'
		case !head && capital(c):
			w[i] += 'a' - 'A'
		}
	}
}

func small(c byte) bool   { return 'a' <= c && c <= 'z' }
func capital(c byte) bool { return 'A' <= c && c <= 'Z' }
func digit(c byte) bool   { return '0' <= c && c <= '9' }
