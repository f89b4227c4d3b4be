package btp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

var (
	clientAddr = radio.Addr{Transport: radio.BLE, Peer: "02:00:00:00:00:0c"}
	serverAddr = radio.Addr{Transport: radio.BLE, Peer: "02:00:00:00:00:05"}
)

func config(peer radio.Addr, window int) Config {
	return Config{Peer: peer, Now: time.Now, Window: window}
}

// link opens both ends over a connection. Either is nil when it did not come
// about, and its error set.
func link(c *radiotest.Connection, clientWindow, serverWindow int) (client, server *Link, clientErr, serverErr error) {
	var wg sync.WaitGroup
	wg.Go(func() {
		server, serverErr = Accept(context.Background(), c.Server, config(clientAddr, serverWindow))
	})
	client, clientErr = Dial(context.Background(), c.Client, config(serverAddr, clientWindow))
	wg.Wait()
	return
}

func mustLink(t testing.TB, c *radiotest.Connection, window int) (client, server *Link) {
	t.Helper()
	client, server, err1, err2 := link(c, window, window)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestConformance(t *testing.T) {
	for _, mtu := range []int{0, 23, 247, 517} {
		t.Run(fmt.Sprintf("MTU %d", mtu), func(t *testing.T) {
			radiotest.TestLink(t, func(t *testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr) {
				client, server := mustLink(t, radiotest.NewConnection(mtu), 0)
				return client, server, clientAddr, serverAddr
			})
			radiotest.TestLink(t, func(t *testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr) {
				client, server := mustLink(t, radiotest.NewConnection(mtu), 0)
				return server, client, serverAddr, clientAddr
			})
		})
	}
}

func TestBadConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no clock":         {Peer: serverAddr},
		"no address":       {Now: time.Now},
		"window too large": config(serverAddr, 256),
		"negative window":  config(serverAddr, -1),
	} {
		c := radiotest.NewConnection(23)
		if _, err := Dial(t.Context(), c.Client, cfg); err == nil {
			t.Errorf("%s: a link was opened", name)
		}
		if err := c.Client.Write([]byte("x")); err == nil {
			t.Errorf("%s: the bearer was left open", name)
		}
	}
}

// conversation is what a pairing looks like: questions and answers of lengths
// that need one segment and many, then pauses in which nothing but
// acknowledgements passes. It ends early when the link does.
func conversation(client, server *Link) error {
	go func() {
		buf := make([]byte, MTU)
		for {
			n, from, err := server.Receive(buf)
			if err != nil || server.Send(from, buf[:n]) != nil {
				return
			}
		}
	}()
	buf := make([]byte, MTU)
	for i, n := range []int{40, 700, 20, MTU, 300} {
		m := bytes.Repeat([]byte{byte(i)}, n)
		if err := client.Send(serverAddr, m); err != nil {
			return err
		}
		got, _, err := client.Receive(buf)
		if err != nil {
			return err
		}
		if !bytes.Equal(buf[:got], m) {
			return fmt.Errorf("message %d came back with %d bytes of %d", i, got, n)
		}
		time.Sleep(7 * time.Second)
	}
	return nil
}

// TestLossAtEveryPacket ends the connection in the place of each packet of a
// conversation in turn, once so that both sides learn of it and once so that
// neither does. Goroutines that stay would fail synctest.Test.
func TestLossAtEveryPacket(t *testing.T) {
	const patience = 18 * time.Second
	packets := 0
	synctest.Test(t, func(t *testing.T) {
		c := radiotest.NewConnection(100)
		client, server, _, _ := link(c, 0, 0)
		if err := conversation(client, server); err != nil {
			t.Fatal(err)
		}
		packets = c.Packets()
		client.Close()
		server.Close()
	})
	if packets < 50 {
		t.Fatalf("the conversation has %d packets only", packets)
	}
	for n := 1; n <= packets; n++ {
		for _, fate := range []radiotest.Fate{radiotest.Cut, radiotest.Mute} {
			synctest.Test(t, func(t *testing.T) {
				c := radiotest.NewConnection(100)
				c.SetLatency(15 * time.Millisecond)
				var mu sync.Mutex
				var lost time.Time
				at := fate.At(n)
				c.SetFate(func(k int, fromClient bool, p []byte) radiotest.Fate {
					mu.Lock()
					defer mu.Unlock()
					f := at(k, fromClient, p)
					if f != radiotest.Deliver && lost.IsZero() {
						lost = time.Now()
					}
					return f
				})
				want := map[radiotest.Fate]error{radiotest.Cut: ErrLost, radiotest.Mute: ErrTimeout}[fate]
				check := func(who string, l *Link, reason error) {
					if l != nil {
						<-l.Done()
						reason = l.Err()
						_, _, err := l.Receive(make([]byte, MTU))
						for err == nil { // what came before the end
							_, _, err = l.Receive(make([]byte, MTU))
						}
						if !errors.Is(err, net.ErrClosed) || !errors.Is(err, want) {
							t.Errorf("packet %d: the %s's Receive says %v", n, who, err)
						}
						if err := l.Send(l.Peer(), []byte("x")); !errors.Is(err, net.ErrClosed) || !errors.Is(err, want) {
							t.Errorf("packet %d: the %s's Send says %v", n, who, err)
						}
					}
					if !errors.Is(reason, want) {
						t.Errorf("packet %d: the %s says %v, want %v", n, who, reason, want)
					}
					mu.Lock()
					defer mu.Unlock()
					if took := time.Since(lost); took > patience {
						t.Errorf("packet %d: the %s took %v", n, who, took)
					}
				}
				if n == 1 && fate == radiotest.Mute { // the server has no peer to miss
					_, err := Dial(t.Context(), c.Client, config(serverAddr, 0))
					check("client", nil, err)
					return
				}
				client, server, err1, err2 := link(c, 0, 0)
				var talk sync.WaitGroup
				if client != nil && server != nil {
					talk.Go(func() { conversation(client, server) })
				}
				check("client", client, err1)
				check("server", server, err2)
				talk.Wait()
			})
		}
	}
}

func TestHandshakeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := radiotest.NewConnection(23)
		_, err := Dial(t.Context(), c.Client, config(serverAddr, 0))
		if took := time.Since(start); !errors.Is(err, ErrTimeout) || took != handshakeTimeout {
			t.Errorf("no answer: %v after %v", err, took)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c = radiotest.NewConnection(23)
		if _, err := Dial(ctx, c.Client, config(serverAddr, 0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a context of one second: %v", err)
		}
		if _, err := c.Server.Read(); err != nil {
			t.Errorf("the request: %v", err)
		}
		if _, err := c.Server.Read(); err == nil {
			t.Error("the bearer was left open")
		}

		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start = time.Now()
		if _, err := Accept(ctx, radiotest.NewConnection(23).Server, config(clientAddr, 0)); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("nobody asked: %v after %v", err, time.Since(start))
		}
	})
}

// TestSilence says nothing for long: acknowledgements keep the link alive on
// the server's side, and the client leaves when its idle time is over.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := radiotest.NewConnection(100)
		client, server := mustLink(t, c, 0)
		start, before := time.Now(), c.Packets()
		<-client.Done()
		if err := client.Err(); !errors.Is(err, ErrTimeout) || time.Since(start) != idleTimeout {
			t.Errorf("client: %v after %v", err, time.Since(start))
		}
		if acks := c.Packets() - before; acks < 20 || acks > 25 {
			t.Errorf("%d acknowledgements in %v, want one each %v", acks, idleTimeout, sendAckAfter)
		}
		<-server.Done()
		if err := server.Err(); !errors.Is(err, ErrLost) {
			t.Errorf("server: %v", err)
		}
	})
}

// TestWindows talks both ways at once over windows of all kinds.
func TestWindows(t *testing.T) {
	for _, w := range []struct{ client, server int }{{1, 1}, {2, 2}, {1, 6}, {6, 1}, {3, 3}, {4, 4}, {5, 6}, {6, 6}, {32, 32}, {255, 255}} {
		for _, latency := range []time.Duration{0, 20 * time.Millisecond} {
			t.Run(fmt.Sprintf("%d and %d, %v", w.client, w.server, latency), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := radiotest.NewConnection(60)
					c.SetLatency(latency)
					client, server, err1, err2 := link(c, w.client, w.server)
					if err := errors.Join(err1, err2); err != nil {
						t.Fatal(err)
					}
					talk(t, client, server)
					client.Close()
					server.Close()
				})
			})
		}
	}
}

// talk sends messages both ways at once and checks that each arrives.
func talk(t *testing.T, client, server *Link) {
	const count = 40
	message := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1+i*29%MTU) }
	var wg sync.WaitGroup
	for _, l := range []*Link{client, server} {
		wg.Go(func() {
			for i := range count {
				if err := l.Send(l.Peer(), message(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			buf := make([]byte, MTU)
			for i := range count {
				n, _, err := l.Receive(buf)
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(buf[:n], message(i)) {
					t.Errorf("message %d came with %d bytes", i, n)
				}
			}
		})
	}
	wg.Wait()
}

// TestStreamDoesNotPause sends so much at once that the window is used up many
// times; the acknowledgements must come before the sender has to wait.
func TestStreamDoesNotPause(t *testing.T) {
	const latency, count = 15 * time.Millisecond, 20
	for _, window := range []int{3, 4, 6, 20} {
		synctest.Test(t, func(t *testing.T) {
			c := radiotest.NewConnection(247)
			c.SetLatency(latency)
			client, server := mustLink(t, c, window)
			start := time.Now()
			go func() {
				for range count {
					client.Send(serverAddr, make([]byte, 1200)) // five segments
				}
			}()
			for range count {
				server.Receive(make([]byte, MTU))
			}
			if took, want := time.Since(start), count*5*2*latency; took > want {
				t.Errorf("window %d: it took %v, the radio alone needs %v", window, took, want)
			}
		})
	}
}

// TestTightWindowAnswers sees that a peer with a window of one or two, which it
// has used up with an acknowledgement, can soon answer.
func TestTightWindowAnswers(t *testing.T) {
	for _, window := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			client, server := mustLink(t, radiotest.NewConnection(100), window)
			buf := make([]byte, MTU)
			start := time.Now()
			for range 10 {
				client.Send(serverAddr, make([]byte, 300))
				server.Receive(buf)
				time.Sleep(10 * time.Millisecond) // so that an acknowledgement goes alone
				server.Send(clientAddr, make([]byte, 300))
				client.Receive(buf)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("window %d: ten answers took %v", window, took)
			}
		})
	}
}

// TestTightWindowIsQuiet sees that two windows of one or two do not exchange
// acknowledgements as fast as the radio can.
func TestTightWindowIsQuiet(t *testing.T) {
	for _, window := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			c := radiotest.NewConnection(100)
			mustLink(t, c, window)
			before := c.Packets()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if acks := c.Packets() - before; acks > 101 {
				t.Errorf("window %d: %d packets in 10 s of silence", window, acks)
			}
		})
	}
}

// TestNobodyReceives fills a link whose other side does not read: Send waits,
// what is queued stays bounded, and reading takes it all up again.
func TestNobodyReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := radiotest.NewConnection(247)
		client, server := mustLink(t, c, 0)
		buf := make([]byte, MTU)
		sent := 0
		go func() {
			for client.Send(serverAddr, make([]byte, 1000)) == nil {
				sent++
			}
		}()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if server.engine.inbox.size > queueLimit+maxWindow*maxSegment || client.engine.outbox.size > queueLimit+MTU+queueOverhead {
			t.Fatalf("%d bytes unread, %d unsent", server.engine.inbox.size, client.engine.outbox.size)
		}
		before := sent
		for range 100 {
			if _, _, err := server.Receive(buf); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if sent < before+50 {
			t.Errorf("%d messages were sent, %d before any was read", sent, before)
		}
		time.Sleep(20 * time.Second) // again unread, until the client gives up
		if err := client.Err(); !errors.Is(err, ErrTimeout) {
			t.Errorf("client: %v", err)
		}
		if _, _, err := server.Receive(buf); err != nil {
			t.Errorf("what came before the end: %v", err)
		}
	})
}

// TestCloseSendsWhatWasTaken closes a link right after Send.
func TestCloseSendsWhatWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := radiotest.NewConnection(100)
		c.SetLatency(10 * time.Millisecond)
		client, server := mustLink(t, c, 0)
		long := bytes.Repeat([]byte{7}, MTU)
		if err := client.Send(serverAddr, long); err != nil {
			t.Fatal(err)
		}
		client.Close()
		if err := client.Err(); err != net.ErrClosed {
			t.Errorf("client: %v", err)
		}
		buf := make([]byte, MTU)
		if n, _, err := server.Receive(buf); err != nil || !bytes.Equal(buf[:n], long) {
			t.Errorf("the last message: %d bytes, %v", n, err)
		}
		if _, _, err := server.Receive(buf); !errors.Is(err, net.ErrClosed) || !errors.Is(err, ErrLost) {
			t.Errorf("after it: %v", err)
		}

		// With nobody at the other side, Close gives up.
		c = radiotest.NewConnection(100)
		client, server = mustLink(t, c, 0)
		c.SetFate(radiotest.Mute.At(1))
		client.Send(serverAddr, long)
		start := time.Now()
		client.Close()
		if took := time.Since(start); took != lingerTimeout {
			t.Errorf("closing a mute link took %v", took)
		}
		server.Close()
	})
}

func BenchmarkThroughput(b *testing.B) {
	for _, mtu := range []int{23, 247} {
		b.Run(fmt.Sprintf("MTU %d", mtu), func(b *testing.B) {
			client, server := mustLink(b, radiotest.NewConnection(mtu), 0)
			m, buf := make([]byte, 1000), make([]byte, MTU)
			b.SetBytes(int64(len(m)))
			b.ReportAllocs()
			go func() {
				for client.Send(serverAddr, m) == nil {
				}
			}()
			for b.Loop() {
				if _, _, err := server.Receive(buf); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
		})
	}
}
