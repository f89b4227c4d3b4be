package manifest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"gatehouse/firmware/durable"
)

// Config says which repository a Client reads.
type Config struct {
	Dir  string           // the client's own folder, private to it; made where it is missing
	Root []byte           // a root.json that was trusted at set-up
	From Fetcher          // where the repository is
	Now  func() time.Time // the clock
}

// Client is what is known of one repository. It may be used by several
// goroutines.
type Client struct {
	config Config
	one    sync.Mutex // held by the Refresh that runs
	cache  cache      // under one
	good   *kept      // under one
	seen   *kept      // under one

	mu        sync.Mutex
	view      *view // nil before the first Refresh
	refreshed time.Time
	tried     time.Time
	err       error
}

// Open reads what is known already, without any fetch: its products can be
// read at once, expired or not. A cache that is damaged, or that another root
// leads to, is passed over: Status tells, and Refresh builds it anew. Open
// fails where the root is not one, and where the cache cannot be read at all.
func Open(config Config) (*Client, error) {
	if err := checkRoot(config.Root); err != nil {
		return nil, fmt.Errorf("the trusted root: %w", err)
	}
	if err := durable.Sweep(config.Dir); err != nil {
		return nil, &Error{Storage, "", err}
	}
	c := &Client{config: config, cache: cache{config.Dir, map[string][sha256.Size]byte{}}}
	var err1, err2 error
	c.good, err1 = c.cache.load(goodFile)
	c.seen, err2 = c.cache.load(seenFile)
	if err := errors.Join(err1, err2); CodeOf(err) == Storage {
		return nil, err
	}
	c.refreshed = c.seen.Refreshed
	if c.good.Timestamp != nil {
		// At the beginning of time nothing has expired: that is for the reader to judge.
		p, err := verify(context.Background(), config.Root, nil, []*state{&c.good.state}, time.Time{})
		if err != nil {
			err1 = &Error{Damaged, goodFile, err}
		} else {
			c.view = &p.view
		}
	}
	c.err = errors.Join(err1, err2)
	return c, nil
}

func checkRoot(root []byte) (err error) {
	defer rescue(&err)
	return new(pass).roots(root)
}

// Check verifies a whole repository from a trusted root, without a cache: its
// roles, its documents, not the octets of its images. It returns what it found
// at fault, too.
func Check(ctx context.Context, root []byte, from Fetcher, now time.Time) ([]*Error, error) {
	p, err := verify(ctx, root, from, nil, now)
	return p.view.faults, err
}

// Refresh fetches and verifies what is new. Where it fails, its error has a
// [Code] and the last good statements stay. It takes MaxRefresh at most.
func (c *Client) Refresh(ctx context.Context) error {
	c.one.Lock()
	defer c.one.Unlock()
	now := c.config.Now()
	err := c.refresh(ctx, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried, c.err = now, err
	return err
}

func (c *Client) refresh(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, MaxRefresh, refuse(Slow, "", "not done after %v", MaxRefresh))
	defer cancel()
	p, failed := verify(ctx, c.config.Root, c.config.From, []*state{&c.good.state, &c.seen.state}, now)
	seen := &kept{state{p.out.Roots, p.out.Timestamp, p.out.Snapshot, nil, nil}, c.seen.Refreshed}
	if seen.Timestamp == nil {
		seen.Timestamp = c.seen.Timestamp
	}
	if seen.Snapshot == nil {
		seen.Snapshot = c.seen.Snapshot
	}
	if failed == nil {
		seen.Refreshed = now
	}
	// What was seen is on disk before anything rests on it.
	if err := c.cache.save(seenFile, seen); err != nil {
		return errors.Join(failed, err)
	}
	c.seen = seen
	if failed != nil {
		return failed
	}
	good := &kept{state: p.out}
	if err := c.cache.save(goodFile, good); err != nil {
		return err
	}
	c.good = good
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view, c.refreshed = &p.view, now
	return nil
}

// Product returns what is said of a product, false where nobody says anything.
func (c *Client) Product(vendor, product uint16) (Statement, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view == nil {
		return Statement{}, false
	}
	s, ok := c.view.products[DocumentPath(vendor, product)]
	if !ok {
		return Statement{}, false
	}
	return c.dated(s), true
}

// Products returns all that is said, by vendor and product.
func (c *Client) Products() []Statement {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view == nil {
		return nil
	}
	all := make([]Statement, 0, len(c.view.products))
	for _, name := range slices.Sorted(maps.Keys(c.view.products)) {
		all = append(all, c.dated(c.view.products[name]))
	}
	return all
}

func (c *Client) dated(s *Statement) Statement {
	dated := *s
	dated.Expired = c.config.Now().After(s.Expires)
	return dated
}

// Image writes the image of a release of vendor's to w. It writes no more than
// the release's size, but it has written before it knows that the octets are
// the right ones: after an error w's must be thrown away.
func (c *Client) Image(ctx context.Context, vendor uint16, r Release, w io.Writer) error {
	name := ImagePath(vendor, r.SHA256)
	if !c.says(vendor, r) {
		return refuse(WrongContent, name, "the repository does not speak of this image")
	}
	file := TargetFile(name, r.SHA256)
	body, err := c.config.From.Fetch(ctx, file, r.Size)
	if err != nil {
		return unreachable(ctx, file, err)
	}
	defer body.Close()
	digest, from := sha256.New(), &source{r: io.LimitReader(body, r.Size)}
	if _, err := io.Copy(io.MultiWriter(w, digest), from); err != nil && from.err == nil {
		return fmt.Errorf("keep the image %s: %w", name, err)
	}
	if from.err != nil {
		return unreachable(ctx, file, from.err)
	}
	if n, _ := io.CopyN(io.Discard, body, 1); n > 0 {
		return refuse(Endless, file, "more than %d octets", r.Size)
	}
	if Digest(digest.Sum(nil)) != r.SHA256 {
		return refuse(WrongContent, file, "another digest")
	}
	return nil
}

func (c *Client) says(vendor uint16, r Release) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view == nil {
		return false
	}
	for _, s := range c.view.products {
		for _, known := range s.Releases {
			if s.VendorID == vendor && known.SHA256 == r.SHA256 && known.Size == r.Size {
				return true
			}
		}
	}
	return false
}

// source tells a reader's errors from the writer's.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Status returns how fresh what is known is.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{From: c.config.From.String(), Refreshed: c.refreshed, Tried: c.tried, Err: c.err}
	if v := c.view; v != nil {
		s.Name, s.Signed, s.Expires, s.Roles, s.Products, s.Faults = v.name, v.signed, v.expires, v.roles, len(v.products), v.faults
		s.Expired = c.config.Now().After(v.expires)
	}
	return s
}
