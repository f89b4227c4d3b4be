package setup

import "strings"

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-."

// charsFor is how many characters hold 0, 1, 2 and 3 octets.
var charsFor = [4]int{0, 2, 4, 5}

// encode38 writes three octets as five characters, least significant first; a
// last one or two octets as two or four.
func encode38(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(len(b), 3)
		v := 0
		for i := n - 1; i >= 0; i-- {
			v = v<<8 | int(b[i])
		}
		for range charsFor[n] {
			s.WriteByte(alphabet[v%len(alphabet)])
			v /= len(alphabet)
		}
		b = b[n:]
	}
	return s.String()
}

func decode38(s string) ([]byte, error) {
	b := make([]byte, 0, len(s)/5*3+3)
	for len(s) > 0 {
		n := 3
		for n > 0 && charsFor[n] > len(s) {
			n--
		}
		chars := charsFor[n]
		if chars == 0 || len(s) < charsFor[3] && chars != len(s) {
			return nil, fail(CodeLength)
		}
		v := 0
		for i := chars - 1; i >= 0; i-- {
			digit := strings.IndexByte(alphabet, s[i])
			if digit < 0 {
				return nil, fail(CodeCharacter)
			}
			v = v*len(alphabet) + digit
		}
		for range n {
			b = append(b, byte(v))
			v >>= 8
		}
		if v != 0 { // more than n octets hold
			return nil, fail(CodeCharacter)
		}
		s = s[chars:]
	}
	return b, nil
}
