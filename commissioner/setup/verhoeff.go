package setup

// Verhoeff's check digit: a product in D5, the symmetries of the pentagon
// (0–4 turn it, 5–9 turn and flip it), of digits permuted by their place.

var verhoeffPermutation = [10]int{1, 5, 7, 6, 2, 8, 3, 0, 9, 4}

func d5(a, b int) int {
	switch {
	case a < 5 && b < 5:
		return (a + b) % 5
	case a < 5:
		return 5 + (a+b)%5
	case b < 5:
		return 5 + (a-b)%5
	}
	return (a - b + 5) % 5
}

// verhoeffProduct is the product of the digits, the last at the given place.
func verhoeffProduct(digits string, place int) int {
	product := 0
	for i := len(digits) - 1; i >= 0; i-- {
		d := int(digits[i] - '0')
		for range place {
			d = verhoeffPermutation[d]
		}
		product = d5(product, d)
		place++
	}
	return product
}

func verhoeffValid(digits string) bool { return verhoeffProduct(digits, 0) == 0 }

// verhoeffDigit is the digit that makes digits valid.
func verhoeffDigit(digits string) byte {
	product := verhoeffProduct(digits, 1)
	if product < 5 {
		product = (5 - product) % 5 // its inverse; a flip is its own
	}
	return '0' + byte(product)
}
