package seal

// Shamir's secret sharing, two of three: over GF(2⁸), for each octet of the
// secret, a straight line is drawn at random through the octet at 0. A share
// is the line's height at 1, 2 or 3. Two points give the line; through one
// there is a line for every secret, all equally likely.

// shares is how many there are, two of which are enough.
const shares = 3

// times is the product in GF(2⁸) modulo x⁸+x⁴+x³+x+1, as in AES. It looks
// nothing up and branches on nothing: how long it takes tells nothing.
func times(a, b byte) (product byte) {
	for range 8 {
		product ^= a & -(b & 1)
		a = a<<1 ^ 0x1B&-(a>>7)
		b >>= 1
	}
	return product
}

// inverse is a to the power of 254: 1/a. There is none of 0, which gives 0.
func inverse(a byte) byte {
	square, product := a, byte(1)
	for range 7 {
		square = times(square, square)
		product = times(product, square)
	}
	return product
}

// height is, octet by octet, how high the line through the secret at 0 with a
// slope is at x.
func height(secret, slope []byte, x byte) []byte {
	y := make([]byte, len(secret))
	for i := range y {
		y[i] = secret[i] ^ times(slope[i], x)
	}
	return y
}

// origin is how high the line through two points is at 0. The points' x differ
// and are not secret.
func origin(x1 byte, y1 []byte, x2 byte, y2 []byte) []byte {
	scale := inverse(x1 ^ x2)
	secret := make([]byte, len(y1))
	for i := range secret {
		secret[i] = times(times(y1[i], x2)^times(y2[i], x1), scale)
	}
	return secret
}
