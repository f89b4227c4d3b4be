//go:build linux && (amd64 || arm64)

package hci

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childArg is what a process is started with that has to put the filter on
// and then become another program: childArg, a descriptor, the program's path
// and its arguments from the zeroth on.
const childArg = "__hci_child"

// exitChild is the exit code of a child that could not become the program.
const exitChild = 127

// Kernel structures of linux/seccomp.h and the ioctls on the listener.
const (
	ioctlReceive = 0xc0502100
	ioctlSend    = 0xc0182101
	ioctlAddFD   = 0x40182103

	flagContinue = 1 // let the kernel do the system call
)

type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type answer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

type addFD struct {
	id       uint64
	flags    uint32
	source   uint32
	target   uint32
	newFlags uint32
}

// Offsets in struct seccomp_data.
const (
	offsetNumber = 0
	offsetArch   = 4
)

func offsetArg(i uint32) uint32 { return 16 + 8*i } // its lower half: both machines are little-endian

// check is one condition on an argument.
type check struct{ arg, mask, want uint32 }

// filter sends to us what may concern Bluetooth and allows all the rest.
func filter() []unix.SockFilter {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		and    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		jump   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		result = unix.BPF_RET | unix.BPF_K
	)
	arch := uint32(unix.AUDIT_ARCH_X86_64)
	if runtime.GOARCH == "arm64" {
		arch = unix.AUDIT_ARCH_AARCH64
	}
	allow := unix.SockFilter{Code: result, K: unix.SECCOMP_RET_ALLOW}
	p := []unix.SockFilter{
		{Code: load, K: offsetArch}, {Code: jump, K: arch, Jt: 1}, allow,
		{Code: load, K: offsetNumber},
	}
	notify := func(number uint32, checks ...check) {
		var b []unix.SockFilter
		for _, c := range checks {
			b = append(b, unix.SockFilter{Code: load, K: offsetArg(c.arg)}, unix.SockFilter{Code: and, K: c.mask},
				unix.SockFilter{Code: jump, K: c.want, Jt: 1}, allow)
		}
		b = append(b, unix.SockFilter{Code: result, K: unix.SECCOMP_RET_USER_NOTIF})
		p = append(append(p, unix.SockFilter{Code: jump, K: number, Jf: uint8(len(b))}), b...)
	}
	const all = 0xffffffff
	notify(unix.SYS_SOCKET, check{0, all, unix.AF_BLUETOOTH})
	notify(unix.SYS_BIND, check{2, all, sizeofSockaddr})
	notify(unix.SYS_IOCTL, check{1, 0xff00, ioctlType << 8})
	notify(unix.SYS_SETSOCKOPT, check{1, all, 0}, check{2, all, optionFilter})
	return append(p, allow)
}

// Available says why programs cannot be emulated here, nil if they can.
func Available() error {
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action))); e != 0 {
		return fmt.Errorf("the kernel offers no seccomp user notification: %w", e)
	}
	return nil
}

// Child returns at once in an ordinary process. In one that Emulate started
// it never does: it puts the filter on and becomes the program.
func Child() {
	if len(os.Args) < 5 || os.Args[1] != childArg {
		return
	}
	err := become(os.Args[2], os.Args[3], os.Args[4:])
	fmt.Fprintln(os.Stderr, "hci:", err)
	os.Exit(exitChild)
}

func become(descriptor, path string, args []string) error {
	fd, err := strconv.Atoi(descriptor)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the filter is this thread's, and so is the exec
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	f := filter()
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	listener, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return fmt.Errorf("install the filter: %w", e)
	}
	if err := unix.Sendmsg(fd, []byte{1}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return fmt.Errorf("hand the listener over: %w", err)
	}
	unix.Close(fd)
	unix.Close(int(listener))
	return fmt.Errorf("become %s: %w", path, syscall.Exec(path, args, os.Environ()))
}

// wrap makes cmd start as this program's Child, with one more descriptor.
func wrap(cmd *exec.Cmd, f *os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if cmd.Err != nil {
		return cmd.Err
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	const standard = 3 // descriptors before ExtraFiles
	cmd.Args = append([]string{self, childArg, strconv.Itoa(standard - 1 + len(cmd.ExtraFiles)), cmd.Path}, cmd.Args...)
	cmd.Path = self
	return nil
}
