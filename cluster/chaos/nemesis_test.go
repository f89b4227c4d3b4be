package chaos

import (
	"context"
	"math/rand/v2"
	"time"
)

// nemesis breaks one thing after the other until ctx ends, each for a while.
func (w *world) nemesis(ctx context.Context, r *rand.Rand, pause time.Duration) {
	faults := []struct {
		weight int
		do     func(context.Context, *rand.Rand)
	}{
		{20, w.crash}, {3, w.outage}, {8, w.tornWrite}, {6, w.diskFull}, {12, w.isolate}, {8, w.halves}, {10, w.oneWay}, {5, w.flap},
		{10, w.slow}, {8, w.reset}, {6, w.transfer}, {6, w.jump}, {3, w.snapshot}, {3, w.replace},
	}
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	for {
		if !sleep(ctx, time.Duration(r.ExpFloat64()*float64(pause))) {
			return
		}
		n := r.IntN(total)
		for _, f := range faults {
			if n -= f.weight; n < 0 {
				own := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
				w.report.faults.Add(1)
				w.wg.Go(func() { f.do(ctx, own) })
				break
			}
		}
	}
}

// sleep reports whether ctx outlasts it.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// between is a duration, the shorter the likelier.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	f := r.Float64()
	return low + time.Duration(f*f*float64(high-low))
}

func (w *world) any(r *rand.Rand) *box {
	all := w.all()
	return all[r.IntN(len(all))]
}

// off kills a gateway for a while.
func (w *world) off(ctx context.Context, b *box, reset bool, d time.Duration, why string) {
	w.kill(b, reset, why)
	sleep(ctx, d)
	w.on(b)
}

func (w *world) on(b *box) {
	w.mu.Lock()
	ours := b.ready && !b.evicted
	w.mu.Unlock()
	if !ours {
		return
	}
	if err := w.start(b); err != nil {
		w.trial.Broken("%s does not start again: %v", b.name, err)
	}
}

func (w *world) processOf(b *box) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return b.process
}

func (w *world) crash(ctx context.Context, r *rand.Rand) {
	b := w.any(r)
	if w.processOf(b) == nil {
		return
	}
	w.off(ctx, b, r.IntN(2) == 0, between(r, 100*time.Millisecond, 2*time.Minute), "killed")
}

func (w *world) outage(ctx context.Context, r *rand.Rand) {
	for _, b := range w.all() {
		if w.processOf(b) == nil {
			continue
		}
		d := between(r, time.Second, time.Minute)
		w.wg.Go(func() { w.off(ctx, b, false, d, "power outage") })
	}
}

func (w *world) tornWrite(ctx context.Context, r *rand.Rand) {
	b := w.any(r)
	p := w.processOf(b)
	if p == nil {
		return
	}
	w.note("%s: the power goes with its next write", b.name)
	p.disk.set(func(d *disk) { d.cut = true })
	select {
	case <-p.gone:
	case <-ctx.Done():
		p.disk.set(func(d *disk) { d.cut = false })
		return
	}
	sleep(ctx, between(r, time.Second, time.Minute))
	w.on(b)
}

func (w *world) diskFull(ctx context.Context, r *rand.Rand) {
	b := w.any(r)
	p := w.processOf(b)
	if p == nil {
		return
	}
	w.note("%s: its disk is full", b.name)
	p.disk.set(func(d *disk) { d.full = true })
	sleep(ctx, between(r, time.Second, time.Minute))
	p.disk.set(func(d *disk) { d.full = false })
	select {
	case <-p.failed:
		w.kill(b, true, "its disk") // else by start, a moment later
		w.on(b)
	case <-p.gone:
		w.on(b)
	default:
	}
}

// part cuts ways for a while.
func (w *world) part(ctx context.Context, d time.Duration, what string, ways ...[2]*box) {
	w.note("cut for %v: %s", d.Round(time.Millisecond), what)
	w.report.partitions.Add(1)
	w.cut(1, ways...)
	sleep(ctx, d)
	w.cut(-1, ways...)
	w.note("healed: %s", what)
}

// isolate cuts one off; often the one that leads.
func (w *world) isolate(ctx context.Context, r *rand.Rand) {
	b := w.any(r)
	if r.IntN(2) == 0 {
		for _, p := range w.running(false) {
			if p.Leads() {
				b = p.box
			}
		}
	}
	var ways [][2]*box
	for _, o := range w.all() {
		if o != b {
			ways = append(ways, [2]*box{b, o}, [2]*box{o, b})
		}
	}
	w.part(ctx, between(r, 500*time.Millisecond, 90*time.Second), b.name, ways...)
}

func (w *world) halves(ctx context.Context, r *rand.Rand) {
	all := w.all()
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := 1 + r.IntN(len(all)-1)
	var ways [][2]*box
	what := ""
	for _, a := range all[:n] {
		what += a.name + " "
		for _, b := range all[n:] {
			ways = append(ways, [2]*box{a, b}, [2]*box{b, a})
		}
	}
	w.part(ctx, between(r, 500*time.Millisecond, time.Minute), what+"from the others", ways...)
}

func (w *world) oneWay(ctx context.Context, r *rand.Rand) {
	b := w.any(r)
	var ways [][2]*box
	in := r.IntN(2) == 0
	for _, o := range w.all() {
		if o != b && (in || r.IntN(2) == 0) {
			if way := [2]*box{b, o}; in {
				ways = append(ways, [2]*box{o, b})
			} else {
				ways = append(ways, way)
			}
		}
	}
	w.part(ctx, between(r, 500*time.Millisecond, time.Minute), "one way, "+b.name, ways...)
}

func (w *world) flap(ctx context.Context, r *rand.Rand) {
	a, b := w.any(r), w.any(r)
	for range 3 + r.IntN(20) {
		if a == b || ctx.Err() != nil {
			return
		}
		w.part(ctx, between(r, 50*time.Millisecond, 4*time.Second), a.name+" from "+b.name, [2]*box{a, b}, [2]*box{b, a})
		sleep(ctx, between(r, 10*time.Millisecond, 2*time.Second))
	}
}

func (w *world) slow(ctx context.Context, r *rand.Rand) {
	w.note("slow")
	w.delay(func() time.Duration { return time.Duration(r.Int64N(int64(300 * time.Millisecond))) })
	sleep(ctx, between(r, 5*time.Second, time.Minute))
	w.delay(func() time.Duration { return time.Duration(r.Int64N(int64(5 * time.Millisecond))) })
}

func (w *world) delay(by func() time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.boxes {
		for _, b := range w.boxes {
			w.latency[[2]*box{a, b}] = by()
		}
	}
	w.connect()
}

func (w *world) reset(_ context.Context, r *rand.Rand) {
	a, b := w.any(r), w.any(r)
	if a == b || w.processOf(a) == nil || w.processOf(b) == nil {
		return
	}
	w.note("reset between %s and %s", a.name, b.name)
	w.mu.Lock()
	from, to := a.addr.Addr(), b.addr.Addr()
	w.mu.Unlock()
	w.net.Reset(from, to)
	w.net.Reset(to, from)
}

func (w *world) transfer(context.Context, *rand.Rand) {
	for _, p := range w.running(false) {
		if p.Leads() {
			w.note("%s hands the lead over", p.box.name)
			within(p, func() (struct{}, error) { return struct{}{}, p.Transfer() })
			return
		}
	}
}

// jump sets a gateway's clock, for good or until it is put right.
func (w *world) jump(ctx context.Context, r *rand.Rand) {
	b := w.any(r)
	by := time.Duration((2*r.Float64() - 1) * 10 * 365 * 24 * float64(time.Hour))
	if r.IntN(2) == 0 {
		by = time.Duration((2*r.Float64() - 1) * float64(10*time.Minute))
	}
	w.note("%s: its clock jumps by %v", b.name, by)
	b.skew.Add(int64(by))
	if sleep(ctx, between(r, time.Second, 5*time.Minute)) {
		b.skew.Store(0)
	}
}

func (w *world) snapshot(_ context.Context, r *rand.Rand) {
	if p := w.processOf(w.any(r)); p != nil {
		within(p, func() (struct{}, error) { return struct{}{}, p.Snapshot() })
	}
}

// replace evicts a gateway and has a fresh one take its place. Then the disk of
// the old one runs again for a while.
func (w *world) replace(ctx context.Context, r *rand.Rand) {
	select {
	case w.replacing <- struct{}{}:
		defer func() { <-w.replacing }()
	default:
		return
	}
	all := w.all()
	victim := all[r.IntN(len(all))]
	// The last but one to go must leave two who help each other.
	if before := len(all) == 2 || r.IntN(2) == 0; before {
		w.successor()
		w.settled()
	} else {
		defer w.successor()
	}
	c := &Client{Trial: w.trial, ID: 2, Rand: r}
	// One call, however often it takes: many of unknown outcome cannot be checked.
	var o Op
	for evicted := false; !evicted; {
		if !w.goesOn() {
			if o.Kind != "" {
				w.trial.End(o, nil, context.Canceled)
			}
			return
		}
		others := w.running(false)
		if len(others) == 0 {
			continue
		}
		by := others[r.IntN(len(others))]
		if by.box == victim {
			continue
		}
		if o.Kind == "" {
			o = c.begin(by, Op{Kind: Evict, Key: victim.node.String()})
		}
		evicted = c.Evict(by, o, victim.node)
		w.note("%s evicts %s: %v", by.box.name, victim.name, evicted)
	}
	w.report.evictions.Add(1)
	w.mu.Lock()
	victim.evicted = true
	w.mu.Unlock()
	sleep(ctx, between(r, 0, 30*time.Second)) // it runs on
	w.kill(victim, false, "evicted")
	w.settled()
	if !sleep(ctx, between(r, 0, time.Minute)) {
		return
	}
	w.note("%s runs again, though evicted", victim.name)
	if err := w.start(victim); err != nil {
		w.trial.Broken("%s does not start: %v", victim.name, err)
		return
	}
	w.thief(ctx, victim)
	w.kill(victim, false, "evicted")
}

// successor has a fresh gateway become a member.
func (w *world) successor() {
	if err := w.enroll(w.box()); err != nil {
		w.trial.Broken("%v", err)
	}
}

// settled waits until the secrets are sealed for the members, and every
// gateway knows who has a vote. To evict one before would leave some that
// nobody can help, or a vote that is needed and refused.
func (w *world) settled() {
	for !*hastyFlag && w.goesOn() {
		all, running := w.all(), w.running(false)
		good := len(all) == len(running)
		for _, p := range running {
			s := p.State()
			good = good && s.SealedRight() && len(s.Members()) == len(all) && len(p.Members()) == len(all) &&
				p.voters() == (len(all)+1)/2*2-1 && s.Index >= running[0].State().Index
		}
		if good {
			return
		}
	}
}

// thief checks that an evicted gateway gets no help from those who know.
func (w *world) thief(ctx context.Context, b *box) {
	p := w.processOf(b)
	for range 6 {
		if !sleep(ctx, 5*time.Second) || p == nil {
			return
		}
		known := true
		for _, o := range w.running(false) {
			known = known && o.State().Tombstones[b.node] != nil
		}
		_, err := within(p, func() (struct{}, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			k, err := p.Vault.IPK(ctx, p.State())
			if err == nil {
				k.Erase()
			}
			return struct{}{}, err
		})
		if err == nil && known {
			w.trial.Broken("%s was evicted and is helped", b.name)
		}
	}
}
