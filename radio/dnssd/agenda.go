package dnssd

import (
	"container/heap"
	"time"
)

// An event is something that is due at a time. Whoever owns it embeds it, so
// that it can be moved or taken back.
type event struct {
	at    time.Time
	run   func(now time.Time)
	index int // in the agenda, from 1; 0 when not in it
}

// agenda is all that is due, soonest first. One timer serves it.
type agenda []*event

func (a *agenda) set(e *event, at time.Time) {
	e.at = at
	if e.index > 0 {
		heap.Fix(a, e.index-1)
	} else {
		heap.Push(a, e)
	}
}

func (a *agenda) cancel(e *event) {
	if e.index > 0 {
		heap.Remove(a, e.index-1)
	}
}

// next is when something is due.
func (a agenda) next() (time.Time, bool) {
	if len(a) == 0 {
		return time.Time{}, false
	}
	return a[0].at, true
}

// runDue runs what is due. An event may set itself again, for later than now.
func (a *agenda) runDue(now time.Time) {
	for len(*a) > 0 && !(*a)[0].at.After(now) {
		heap.Pop(a).(*event).run(now)
	}
}

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i+1, j+1
}

func (a *agenda) Push(x any) {
	e := x.(*event)
	*a = append(*a, e)
	e.index = len(*a)
}

func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	e.index = 0
	return e
}
