package found

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
)

// TestRemint makes another root: its kit opens and is never overwritten, what
// it gives can sign and cannot be printed.
func TestRemint(t *testing.T) {
	c := RootConfig{Home: "home", FabricID: 7, Birth: time.Now().AddDate(26, 0, 0).Truncate(time.Second), Generation: 4, Kit: filepath.Join(t.TempDir(), "kit"),
		Passphrase: "rowboat ferns at dusk", Now: time.Now(), KitWork: 2}
	r, err := Remint(c)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(c.Kit)
	if err != nil {
		t.Fatal(err)
	}
	kit, err := seal.OpenKit(file, c.Passphrase)
	if err != nil || !bytes.Equal(kit.Root, r.Root) || kit.FabricID != 7 || !bytes.Equal(kit.Sealing.Public(), r.Recovery) {
		t.Errorf("%v", err)
	}
	root, err := Root(r.Root)
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := root.Certificate().Subject.Find(cert.AttrFabricID); id != 7 {
		t.Errorf("fabric %d", id)
	}
	text := strings.ToLower(fmt.Sprintf("%v %+v %#v %s %x %d", r, *r, r, r, r, *r))
	for _, secret := range [][]byte{r.IssuerKey, r.IPK} {
		if strings.Contains(text, hex.EncodeToString(secret)) || strings.Contains(text, strings.Trim(fmt.Sprint(secret), "[]")) {
			t.Error("it can be printed")
		}
	}
	if _, err := Remint(c); err == nil {
		t.Error("a kit is overwritten")
	}
	c.Kit, c.Passphrase = c.Kit+"2", "home"
	if _, err := Remint(c); err == nil {
		t.Error("with a weak passphrase")
	}
	r.Erase()
	if !bytes.Equal(r.IssuerKey, make([]byte, 32)) || !bytes.Equal(r.IPK, make([]byte, 16)) {
		t.Error("erasing leaves something")
	}
}
