package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"gatehouse/cluster/backup"
	"gatehouse/commissioner"
	"gatehouse/fabric"
)

// BackupHeader is the header of the answer to GET backup, whose body is the
// backup: a BackupInfo in JSON.
const BackupHeader = "Gatehouse-Backup"

// BackupInfo is what is told of a backup that only the recovery kit opens.
type BackupInfo struct {
	Fabric  string    `json:"fabric_id"`
	Taken   time.Time `json:"taken"`
	Index   uint64    `json:"index"`
	Devices int       `json:"devices"`
	// Behind says that no gateway leads: it is what this one knew last.
	Behind bool `json:"behind,omitempty"`
}

// backup also works where the other gateways are lost: then it is most needed.
func (p *Portal) backup(w http.ResponseWriter, r *http.Request) error {
	s, err := p.C.Ledger.Current(r.Context())
	if err != nil {
		s = p.C.Ledger.State()
	}
	info := BackupInfo{s.Home.FabricID.String(), p.now().UTC(), s.Index, len(s.Devices), err != nil}
	var file bytes.Buffer
	switch err := backup.Write(&file, s, info.Taken); {
	case errors.Is(err, fabric.ErrNoRecovery):
		return &commissioner.Failure{Code: "recovery-kit-too-old", Message: err.Error(),
			Remedy: "found a new home with this release and pair the devices again; until then, keep copies of the whole state directory of a gateway that is stopped"}
	case err != nil:
		return err
	}
	header, err := json.Marshal(info)
	if err != nil {
		return err
	}
	w.Header().Set(BackupHeader, string(header))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(file.Len()))
	_, err = w.Write(file.Bytes())
	return err
}
