package ble

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseAdapter is the number of an adapter by its name: 0 is hci0.
func ParseAdapter(name string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(name, "hci"), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a Bluetooth adapter such as hci0", name)
	}
	return int(n), nil
}
