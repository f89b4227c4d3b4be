package commissioner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"gatehouse/fabric/cert"
	"gatehouse/radio"
)

// AddressBook remembers where each device answered last, over restarts. It is
// a hint: losing it costs a search, so it is written without ceremony.
type AddressBook struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	addrs map[cert.NodeID]netip.AddrPort
}

// OpenAddressBook reads the book at path, which need not exist.
func OpenAddressBook(path string, log *slog.Logger) *AddressBook {
	b := &AddressBook{path: path, log: log, addrs: make(map[cert.NodeID]netip.AddrPort)}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b
	}
	if err == nil {
		err = json.Unmarshal(data, &b.addrs)
	}
	if err != nil {
		log.Warn("the address book is of no use; devices will be searched", "err", err)
		b.addrs = make(map[cert.NodeID]netip.AddrPort)
	}
	return b
}

// Get is where the device answered last.
func (b *AddressBook) Get(n cert.NodeID) (radio.Addr, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.addrs[n]
	return radio.UDPAddr(a), ok
}

// Set remembers where a device answered.
func (b *AddressBook) Set(n cert.NodeID, a radio.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.Transport == radio.UDP && b.addrs[n] != a.IP {
		b.addrs[n] = a.IP
		b.write()
	}
}

// Forget drops a device that no longer belongs.
func (b *AddressBook) Forget(n cert.NodeID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.addrs[n]; ok {
		delete(b.addrs, n)
		b.write()
	}
}

func (b *AddressBook) write() {
	data, err := json.Marshal(b.addrs)
	if err == nil {
		err = os.WriteFile(b.path+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(b.path+".new", b.path)
	}
	if err != nil {
		b.log.Warn("the address book was not written", "err", fmt.Errorf("%s: %w", b.path, err))
	}
}
