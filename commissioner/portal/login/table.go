package login

import "container/list"

// table holds a bounded number of values. The one that was asked for longest ago
// gives way to a new one.
type table[K comparable, V any] struct {
	most  int
	at    map[K]*list.Element
	order *list.List // of entry; the last one asked for is in front
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newTable[K comparable, V any](most int) *table[K, V] {
	return &table[K, V]{most, map[K]*list.Element{}, list.New()}
}

// get is the value of a key; nil if there is none.
func (t *table[K, V]) get(key K) *V {
	e := t.at[key]
	if e == nil {
		return nil
	}
	t.order.MoveToFront(e)
	return &e.Value.(*entry[K, V]).value
}

// make is the value of a key, a zero one if there was none.
func (t *table[K, V]) make(key K) *V {
	if v := t.get(key); v != nil {
		return v
	}
	if t.order.Len() >= t.most {
		t.drop(t.order.Back())
	}
	added := &entry[K, V]{key: key}
	t.at[key] = t.order.PushFront(added)
	return &added.value
}

func (t *table[K, V]) remove(which func(K) bool) {
	for key, e := range t.at {
		if which(key) {
			t.drop(e)
		}
	}
}

func (t *table[K, V]) drop(e *list.Element) {
	t.order.Remove(e)
	delete(t.at, e.Value.(*entry[K, V]).key)
}
