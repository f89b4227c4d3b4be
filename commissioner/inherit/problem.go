package inherit

import "fmt"

// Code is the stable name of what is wrong with a storage.
type Code string

const (
	CodeNothing      Code = "storage-none"
	CodeUnreadable   Code = "storage-unreadable"
	CodeTooLarge     Code = "storage-too-large"
	CodeDamaged      Code = "storage-damaged"
	CodeFormat       Code = "storage-format-unknown"
	CodeNoFabric     Code = "fabric-not-in-storage"
	CodeSeveral      Code = "fabrics-several"
	CodeRoot         Code = "root-certificate-unusable"
	CodeNoKey        Code = "root-key-missing"
	CodeOtherKey     Code = "root-key-of-another-root"
	CodeIPK          Code = "ipk-unknown"
	CodeNoNodes      Code = "nodes-missing"
	CodeNode         Code = "node-damaged"
	CodeNodesFull    Code = "nodes-too-many"
	CodeNodesBackup  Code = "nodes-from-backup"
	CodeNodeUnknown  Code = "node-certificate-unknown"
	CodeNoController Code = "controller-unknown"
)

var explanations = map[Code]struct{ message, remedy string }{
	CodeNothing:      {"there is no storage of a Matter server in this folder", "name the server's data folder: the one with chip.json, or with a folder like server-1-fff1"},
	CodeUnreadable:   {"the storage cannot be read", "copy it to where this user may read it, with the server switched off"},
	CodeTooLarge:     {"the storage is larger than any home's", "name the folder of one server"},
	CodeDamaged:      {"the storage is damaged", "start the old server once and stop it, or take the folder from a backup"},
	CodeFormat:       {"the storage is in a format that this release does not read", "start matter-server once with MATTER_STORAGE_DRIVER=wal and stop it: it rewrites its storage"},
	CodeNoFabric:     {"the storage has no such fabric", "see which it has with --dry-run"},
	CodeSeveral:      {"the storage has several fabrics", "choose one with --fabric and its compressed id"},
	CodeRoot:         {"the fabric's root certificate is none that devices go by", "take the folder from a backup"},
	CodeNoKey:        {"the root's private key is not in the storage: nobody can become the fabric's administrator without it", "take the folder from a backup that has it, or pair the devices anew"},
	CodeOtherKey:     {"the root's private key does not belong to its certificate", "take the folder from a backup, from before the two were parted"},
	CodeIPK:          {"the fabric's identity protection key is not in the storage", "take the folder from a backup"},
	CodeNoNodes:      {"the server's list of devices is missing", "take the folder from a backup that has it: devices that nobody knows are not taken over"},
	CodeNode:         {"a device's entry is damaged, and it is left out", "take the folder from a backup, or pair the device anew"},
	CodeNodesFull:    {"the storage lists more devices than a home can have", "remove some with the old server"},
	CodeNodesBackup:  {"the server's list of devices is damaged; its backup was read", "compare the devices with what you have"},
	CodeNodeUnknown:  {"the storage has no certificate of the device that its root vouches for", "nothing needs to be done: its key is learnt when it is met first"},
	CodeNoController: {"the storage does not say under which id the old controller went", "take the folder from a backup"},
}

// Problem is what is wrong with a storage, for a person. It holds no secret.
type Problem struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
	// Fatal says that no home can be founded on this.
	Fatal bool `json:"fatal"`
	err   error
}

func (p *Problem) Error() string { return p.Message }
func (p *Problem) Unwrap() error { return p.err }

// problem is a fatal Problem, with err as its detail: not one of encoding/json,
// which would quote what may be a key.
func problem(code Code, err error) *Problem {
	e := explanations[code]
	p := &Problem{Code: code, Message: e.message, Remedy: e.remedy, Fatal: true, err: err}
	if err != nil {
		p.Message = fmt.Sprintf("%s (%v)", e.message, err)
	}
	return p
}

// note is a Problem that concerns one node, or nothing that is needed.
func note(code Code, format string, args ...any) *Problem {
	p := problem(code, nil)
	p.Fatal = false
	if format != "" {
		p.Message = fmt.Sprintf(format, args...) + ": " + p.Message
	}
	return p
}
