//go:build linux && (amd64 || arm64)

package hci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of the kernel's net/bluetooth/hci_sock.h.
const (
	sizeofSockaddr = 6
	optionFilter   = 2 // HCI_FILTER
	ioctlType      = 'H'

	ioctlUp        = 201
	ioctlDown      = 202
	ioctlReset     = 203
	ioctlList      = 210
	ioctlInfo      = 211
	sizeofListItem = 8
	sizeofInfo     = 20 // of struct hci_dev_info up to its flags, all that we fill in
	flagUp         = 1
)

// Limits of our own.
const (
	maxPacket = 4096 // bytes of one HCI packet of the program's

	busyTries = 10
	busyWait  = 20 * time.Millisecond
)

// Emulate changes cmd, which must not have been started yet, so that the
// program finds devices as its adapters, by number, and no others. stop ends
// the emulation; call it when the program has ended, or was never started.
func Emulate(cmd *exec.Cmd, devices map[int]Device, log *slog.Logger) (stop func(), err error) {
	if err := Available(); err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "hci"), os.NewFile(uintptr(pair[1]), "hci child")
	if err := wrap(cmd, theirs); err != nil {
		ours.Close()
		theirs.Close()
		return nil, err
	}
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, err
	}
	e := &emulation{devices: devices, log: log, sockets: map[uint64]*socket{}}
	go func() {
		listener, err := receiveListener(conn.(*net.UnixConn))
		if err != nil {
			return // stopped before the program started
		}
		defer unix.Close(listener)
		e.serve(listener)
	}()
	return sync.OnceFunc(func() {
		conn.Close()
		theirs.Close()
		e.hangUp()
	}), nil
}

func receiveListener(conn *net.UnixConn) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return 0, errors.New("hci: the child handed no listener over")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, errors.New("hci: the child handed no listener over")
	}
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}

// emulation answers the system calls of one program and its children.
type emulation struct {
	devices map[int]Device
	log     *slog.Logger

	mu      sync.Mutex
	sockets map[uint64]*socket // by inode: a descriptor may be duplicated, inherited or used again
}

// socket is our end of a Bluetooth socket of the program's.
type socket struct {
	fd    *os.File
	bound bool
}

// serve answers until the last process under the filter has ended.
func (e *emulation) serve(listener int) {
	for {
		p := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err != nil && err != unix.EINTR {
			return
		}
		if p[0].Revents&unix.POLLIN == 0 {
			if p[0].Revents != 0 {
				return
			}
			continue
		}
		var n notification
		err := ioctl(listener, ioctlReceive, unsafe.Pointer(&n))
		if err == unix.ENOENT {
			continue // the process was killed meanwhile
		}
		if err != nil {
			e.log.Error("hci: receive a notification", "err", err)
			return
		}
		a := answer{id: n.id}
		if n.nr == unix.SYS_SOCKET {
			a.value, err = e.socket(listener, &n)
		} else if s := e.find(&n); s == nil {
			a.flags = flagContinue // not ours after all
		} else {
			err = e.call(s, &n)
		}
		if err != nil {
			a.value, a.errno = 0, -int32(errno(err))
		}
		ioctl(listener, ioctlSend, unsafe.Pointer(&a)) // ENOENT: the process was killed meanwhile
	}
}

func errno(err error) unix.Errno {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EIO
}

func ioctl(fd int, request uintptr, p unsafe.Pointer) error {
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(p))
		switch e {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return e
		}
	}
}

// socket gives the program one end of a socket pair as its Bluetooth socket.
func (e *emulation) socket(listener int, n *notification) (int64, error) {
	if n.args[2] != unix.BTPROTO_HCI {
		return 0, unix.EPROTONOSUPPORT
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(pair[1])
	var st unix.Stat_t
	if err := unix.Fstat(pair[1], &st); err != nil {
		unix.Close(pair[0])
		return 0, err
	}
	unix.SetNonblock(pair[0], true) // so that a read of ours ends when it is closed
	unix.SetNonblock(pair[1], n.args[1]&unix.SOCK_NONBLOCK != 0)
	s := &socket{fd: os.NewFile(uintptr(pair[0]), "emulated bluetooth socket")}
	add := addFD{id: n.id, source: uint32(pair[1]), newFlags: uint32(n.args[1]) & unix.SOCK_CLOEXEC}
	fd, _, failed := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), ioctlAddFD, uintptr(unsafe.Pointer(&add)))
	if failed != 0 {
		s.fd.Close()
		return 0, failed
	}
	e.mu.Lock()
	e.sockets[st.Ino] = s
	e.mu.Unlock()
	return int64(fd), nil
}

// find is the socket that a system call's first argument refers to.
func (e *emulation) find(n *notification) *socket {
	var inode uint64
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[0])))
	if err != nil {
		return nil
	}
	if _, err := fmt.Sscanf(link, "socket:[%d]", &inode); err != nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sockets[inode]
}

// call does a system call on a socket of ours.
func (e *emulation) call(s *socket, n *notification) error {
	switch n.nr {
	case unix.SYS_BIND:
		return e.bind(s, n)
	case unix.SYS_SETSOCKOPT:
		return nil // the user channel has no filter
	}
	switch n.args[1] & 0xff {
	case ioctlUp, ioctlDown, ioctlReset:
		if e.devices[int(n.args[2])] == nil {
			return unix.ENODEV
		}
		return nil
	case ioctlList:
		return e.list(n)
	case ioctlInfo:
		return e.info(n)
	}
	return unix.ENOTTY
}

func (e *emulation) bind(s *socket, n *notification) error {
	var b [sizeofSockaddr]byte
	if err := readMemory(n.pid, n.args[1], b[:]); err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(b[:]) != unix.AF_BLUETOOTH {
		return unix.EINVAL
	}
	if s.bound {
		return unix.EALREADY
	}
	switch binary.NativeEndian.Uint16(b[4:]) {
	case unix.HCI_CHANNEL_CONTROL:
		s.bound = true
		go io.Copy(io.Discard, s.fd)
		return nil
	case unix.HCI_CHANNEL_USER, unix.HCI_CHANNEL_RAW:
	default:
		return unix.EINVAL
	}
	device := e.devices[int(binary.NativeEndian.Uint16(b[2:]))]
	if device == nil {
		return unix.ENODEV
	}
	c, err := device()
	// The program that had the adapter may have ended just now.
	for tries := 0; tries < busyTries && errors.Is(err, unix.EBUSY); tries++ {
		time.Sleep(busyWait)
		c, err = device()
	}
	if err != nil {
		e.log.Debug("hci: open an adapter", "err", err)
		return err
	}
	s.bound = true
	go func() {
		err := Join(packets{s.fd}, c)
		e.log.Debug("hci: adapter closed", "err", err)
	}()
	return nil
}

// list answers struct hci_dev_list_req: a count, and that many of number and
// flags.
func (e *emulation) list(n *notification) error {
	var count [2]byte
	if err := readMemory(n.pid, n.args[2], count[:]); err != nil {
		return err
	}
	var numbers []int
	for number := range e.devices {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	numbers = numbers[:min(len(numbers), int(binary.NativeEndian.Uint16(count[:])))]
	b := make([]byte, 4+sizeofListItem*len(numbers))
	binary.NativeEndian.PutUint16(b, uint16(len(numbers)))
	for i, number := range numbers {
		item := b[4+sizeofListItem*i:]
		binary.NativeEndian.PutUint16(item, uint16(number))
		binary.NativeEndian.PutUint32(item[4:], flagUp)
	}
	return writeMemory(n.pid, n.args[2], b)
}

// info answers the start of struct hci_dev_info.
func (e *emulation) info(n *notification) error {
	var b [sizeofInfo]byte
	if err := readMemory(n.pid, n.args[2], b[:2]); err != nil {
		return err
	}
	number := int(binary.NativeEndian.Uint16(b[:]))
	if e.devices[number] == nil {
		return unix.ENODEV
	}
	copy(b[2:10], fmt.Sprintf("hci%d", number))
	binary.NativeEndian.PutUint32(b[16:], flagUp)
	return writeMemory(n.pid, n.args[2], b[:])
}

// hangUp closes what the program left open.
func (e *emulation) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.sockets {
		s.fd.Close()
	}
}

func readMemory(pid uint32, address uint64, b []byte) error {
	local, remote := vectors(address, b)
	return whole(b)(unix.ProcessVMReadv(int(pid), local, remote, 0))
}

func writeMemory(pid uint32, address uint64, b []byte) error {
	local, remote := vectors(address, b)
	return whole(b)(unix.ProcessVMWritev(int(pid), local, remote, 0))
}

func vectors(address uint64, b []byte) ([]unix.Iovec, []unix.RemoteIovec) {
	local := unix.Iovec{Base: &b[0]}
	local.SetLen(len(b))
	return []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(address), Len: len(b)}}
}

func whole(b []byte) func(int, error) error {
	return func(n int, err error) error {
		if err == nil && n != len(b) {
			return unix.EFAULT
		}
		return err
	}
}

// packets is a Controller over a descriptor that keeps packets apart.
type packets struct{ f *os.File }

func (p packets) ReadPacket() ([]byte, error) {
	b := make([]byte, maxPacket)
	n, err := p.f.Read(b)
	return b[:n], err
}

func (p packets) WritePacket(packet []byte) error {
	_, err := p.f.Write(packet)
	return err
}

func (p packets) Close() error { return p.f.Close() }
