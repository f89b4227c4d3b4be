package nodes

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/fabric/tlv"
	"gatehouse/firmware/durable"
)

// maxSaved bounds a file of it, in octets.
const maxSaved = 256 << 20

// Load takes in what Save wrote, if it did. What is of no use is left aside:
// devices say it again.
func (s *Store) Load(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err == nil && info.Size() > maxSaved {
		err = fmt.Errorf("%d octets", info.Size())
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	var saved []Change
	if err == nil {
		err = decoding.Unmarshal(b, &saved)
	}
	if err != nil {
		return fmt.Errorf("what devices said before: %w", err)
	}
	for _, c := range saved {
		c.Available = nil
		s.Apply(c.sound())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = false
	return nil
}

// sound is the change without values that are none.
func (c Change) sound() Change {
	c.Values = slices.DeleteFunc(c.Values, func(v Value) bool {
		_, err := tlv.Check(v.Data)
		return err != nil
	})
	if c.Event != nil && len(c.Event.Data) > 0 {
		if _, err := tlv.Check(c.Event.Data); err != nil {
			c.Event = nil
		}
	}
	return c
}

// Save writes down what devices said, if something is new.
func (s *Store) Save(path string) error {
	s.mu.Lock()
	var all []Change
	dirty := s.dirty
	for _, n := range slices.Sorted(maps.Keys(s.nodes)) {
		all = append(all, s.nodes[n].whole())
	}
	s.dirty = false
	s.mu.Unlock()
	if !dirty {
		return nil
	}
	b, err := cbor.Marshal(all)
	if err == nil {
		err = durable.Write(path, b)
	}
	if err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
		return fmt.Errorf("what devices said: %w", err)
	}
	return nil
}
