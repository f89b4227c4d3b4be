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

// Backup is a backup of a State, and of the records that are given of what was
// decided, which only the recovery kit opens.
func Backup(s *fabric.State, now time.Time, behind bool, records backup.Records) (file []byte, info BackupInfo, err error) {
	info = BackupInfo{s.Home.FabricID.String(), now.UTC(), s.Index, len(s.Devices), behind}
	var b bytes.Buffer
	err = backup.Write(&b, s, info.Taken, records)
	if errors.Is(err, fabric.ErrNoRecovery) {
		err = &commissioner.Failure{Code: "recovery-kit-too-old", Message: err.Error(),
			Remedy: "found a new home with this release and pair the devices again; until then, keep copies of the whole state directory of a gateway that is stopped"}
	}
	return b.Bytes(), info, err
}

// backup also works where the other gateways are lost: then it is most needed.
func (p *Portal) backup(w http.ResponseWriter, r *http.Request) error {
	s, behind := p.C.Ledger.Current(r.Context())
	if behind != nil {
		s = p.C.Ledger.State()
	}
	file, info, err := Backup(s, p.now(), behind != nil, p.M.Trail())
	if err != nil {
		return err
	}
	header, err := json.Marshal(info)
	if err != nil {
		return err
	}
	w.Header().Set(BackupHeader, string(header))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(file)))
	_, err = w.Write(file)
	return err
}
