// Package peripheral is the Bluetooth side of a simulated Matter device: it
// advertises as a device that can be commissioned, serves Matter's two
// characteristics and yields each connection as a btp.Bearer for btp.Accept.
//
// It rests on go-ble's server role, on an adapter that is real or emulated
// (hci.Emulate). A process has one Peripheral at most, and a hostile packet
// crashes it: it is a device for demonstrations and tests. Production code
// never imports it.
package peripheral

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	goble "github.com/go-ble/ble"
	"github.com/go-ble/ble/linux"
	"github.com/go-ble/ble/linux/hci/cmd"
	"github.com/go-ble/ble/linux/hci/evt"

	"gatehouse/radio"
	"gatehouse/radio/ble"
)

// Limits.
const (
	inQueue   = 512 // writes not read yet
	attHeader = 3   // bytes of an indication before the value
)

// Config of a Peripheral.
type Config struct {
	HCI int // number of the adapter: 0 is hci0
	// Advertise is what is told of the device: discriminator, vendor,
	// product and the two flags.
	Advertise radio.Advertisement
	// Data, if not nil, is advertised in place of that. At most 31 bytes.
	Data []byte
	// Random, if not zero, is advertised from in place of the adapter's own
	// address. Its first byte is the most significant one.
	Random [6]byte
	// Additional is what C3 says; nil leaves it out. At most 512 bytes.
	Additional []byte
	// Write, if not nil, is called with each value written to C1 before it
	// is confirmed: it may delay that.
	Write func([]byte)
}

// Peripheral is a device on the air.
type Peripheral struct {
	cfg   Config
	dev   *linux.Device
	conns chan *Conn
	done  chan struct{}

	mu      sync.Mutex
	current *Conn // there is one at a time: while connected nothing is advertised
	closed  bool
}

// Open opens the adapter and begins to advertise.
func Open(cfg Config) (*Peripheral, error) {
	p := &Peripheral{cfg: cfg, conns: make(chan *Conn, 1), done: make(chan struct{})}
	params := cmd.LESetAdvertisingParameters{AdvertisingIntervalMin: 0x20, AdvertisingIntervalMax: 0x20, AdvertisingChannelMap: 7}
	if cfg.Random != [6]byte{} {
		params.OwnAddressType = 1
	}
	dev, err := linux.NewDevice(goble.OptDeviceID(cfg.HCI), goble.OptAdvParams(params), goble.OptConnectHandler(p.connected),
		goble.OptDisconnectHandler(p.disconnected))
	if err != nil {
		return nil, fmt.Errorf("open hci%d: %w", cfg.HCI, err)
	}
	p.dev = dev
	if err := p.advertise(); err != nil {
		dev.Stop()
		return nil, fmt.Errorf("advertise: %w", err)
	}
	return p, nil
}

func (p *Peripheral) advertise() error {
	if err := p.dev.SetServices([]*goble.Service{p.service()}); err != nil {
		return err
	}
	if p.cfg.Random != [6]byte{} {
		var address cmd.LESetRandomAddress
		for i := range p.cfg.Random {
			address.RandomAddress[i] = p.cfg.Random[len(p.cfg.Random)-1-i]
		}
		if err := p.dev.HCI.Send(&address, nil); err != nil {
			return err
		}
	}
	data := p.cfg.Data
	if data == nil {
		data = ble.Advertising(p.cfg.Advertise)
	}
	if err := p.dev.HCI.SetAdvertisement(data, nil); err != nil {
		return err
	}
	return p.dev.HCI.Advertise()
}

// Advertise begins or ends the advertising, which Open begins. A connection
// interrupts it.
func (p *Peripheral) Advertise(on bool) error {
	if on {
		return p.dev.HCI.Advertise()
	}
	return p.dev.HCI.StopAdvertising()
}

func (p *Peripheral) service() *goble.Service {
	s := goble.NewService(goble.UUID16(ble.ServiceUUID))
	s.NewCharacteristic(goble.MustParse(ble.C1UUID)).HandleWrite(goble.WriteHandlerFunc(p.written))
	s.NewCharacteristic(goble.MustParse(ble.C2UUID)).HandleIndicate(goble.NotifyHandlerFunc(p.subscribed))
	if p.cfg.Additional != nil {
		s.NewCharacteristic(goble.MustParse(ble.C3UUID)).SetValue(p.cfg.Additional)
	}
	return s
}

// connected is called by go-ble for every connection, in the goroutine that
// reads the adapter.
func (p *Peripheral) connected(e evt.LEConnectionComplete) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = &Conn{handle: e.ConnectionHandle(), in: make(chan []byte, inQueue), subscribed: make(chan struct{}), ended: make(chan struct{}),
		opened: make(chan struct{})}
	select {
	case p.conns <- p.current:
	default: // nobody accepts: it is left to time out
	}
}

func (p *Peripheral) disconnected(e evt.DisconnectionComplete) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil && p.current.handle == e.ConnectionHandle() {
		p.current.end(io.EOF)
		p.current = nil
	}
	if !p.closed {
		go p.resume()
	}
}

// resume sees to it that a device that nobody is connected to advertises.
// go-ble turns advertising off after a connection has come and on after it has
// gone, each in a goroutine of its own: a short connection may leave it off.
func (p *Peripheral) resume() {
	for _, wait := range []time.Duration{20 * time.Millisecond, 200 * time.Millisecond} {
		time.Sleep(wait)
		p.mu.Lock()
		idle := p.current == nil && !p.closed
		p.mu.Unlock()
		if !idle {
			return
		}
		p.dev.HCI.Advertise()
	}
}

func (p *Peripheral) conn() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// written takes a value of C1.
func (p *Peripheral) written(r goble.Request, w goble.ResponseWriter) {
	c := p.conn()
	if c == nil {
		w.SetStatus(goble.ErrUnlikely)
		return
	}
	c.attach(r.Conn())
	if p.cfg.Write != nil {
		p.cfg.Write(r.Data())
	}
	select {
	case c.in <- append([]byte(nil), r.Data()...):
	default:
		w.SetStatus(goble.ErrInsuffResources)
	}
}

// subscribed lets C2 be indicated until the client unsubscribes or goes.
func (p *Peripheral) subscribed(r goble.Request, n goble.Notifier) {
	c := p.conn()
	if c == nil {
		return
	}
	c.attach(r.Conn())
	c.subscribe(n)
	<-n.Context().Done()
}

// Accept waits for the next connection.
func (p *Peripheral) Accept(ctx context.Context) (*Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends the connection and lets the adapter go.
func (p *Peripheral) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	if p.current != nil {
		p.current.end(io.EOF)
	}
	p.mu.Unlock()
	if closed {
		return nil
	}
	close(p.done)
	return p.dev.Stop()
}

// Conn is a connection from a commissioner, the server's side.
type Conn struct {
	handle     uint16
	in         chan []byte
	subscribed chan struct{}
	opened     chan struct{} // closed when link is known
	ended      chan struct{}

	mu       sync.Mutex
	link     goble.Conn
	notifier goble.Notifier
	err      error

	writing sync.Mutex
}

// attach remembers go-ble's connection, which the first request tells.
func (c *Conn) attach(link goble.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		c.link = link
		close(c.opened)
	}
}

func (c *Conn) subscribe(n goble.Notifier) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.notifier == nil {
		close(c.subscribed)
	}
	c.notifier = n
}

func (c *Conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.ended)
	}
}

func (c *Conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// MTU is the connection's ATT MTU in bytes, 0 before the client has written
// anything.
func (c *Conn) MTU() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return 0
	}
	return min(c.link.TxMTU(), c.link.RxMTU())
}

// Read returns the next value written to C1; io.EOF once the client is gone.
func (c *Conn) Read() ([]byte, error) {
	select {
	case b := <-c.in:
		return b, nil
	case <-c.ended:
	}
	select {
	case b := <-c.in:
		return b, nil
	default:
		return nil, c.reason()
	}
}

// Write indicates b on C2 and returns when it was confirmed. It waits until
// the client has subscribed.
func (c *Conn) Write(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	select {
	case <-c.subscribed:
	case <-c.ended:
		return c.writeError()
	}
	if limit := c.MTU() - attHeader; len(b) > limit {
		return fmt.Errorf("an indication of %d bytes, %d are possible", len(b), limit)
	}
	c.mu.Lock()
	n := c.notifier
	c.mu.Unlock()
	confirmed := make(chan error, 1)
	b = append([]byte(nil), b...)
	go func() {
		_, err := n.Write(b)
		confirmed <- err
	}()
	select {
	case err := <-confirmed:
		return err
	case <-c.ended:
		return c.writeError()
	}
}

func (c *Conn) writeError() error {
	if err := c.reason(); err != io.EOF {
		return err
	}
	return fmt.Errorf("indicate: %w", io.ErrClosedPipe)
}

// Close disconnects.
func (c *Conn) Close() error {
	c.end(net.ErrClosed)
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	if link == nil {
		return nil
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		link.Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeLimit):
	}
	return nil
}

// closeLimit is for go-ble, which may hang.
const closeLimit = 3 * time.Second
