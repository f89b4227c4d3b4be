package webpki

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"strings"
)

// Media types of what a phone takes to trust an authority.
const (
	MediaDER     = "application/x-x509-ca-cert"       // Android, and most others
	MediaPEM     = "application/x-pem-file"           // tools
	MediaProfile = "application/x-apple-aspen-config" // iOS, macOS
)

// Fingerprint is the SHA-256 of a certificate.
type Fingerprint [sha256.Size]byte

// Fingerprint is that of the authority's certificate.
func (a *Authority) Fingerprint() Fingerprint { return sha256.Sum256(a.cert.Raw) }

// String is the fingerprint as browsers and phones show it: AB:CD:….
func (f Fingerprint) String() string {
	return strings.ReplaceAll(strings.ToUpper(fmt.Sprintf("% x", f[:])), " ", ":")
}

// Groups is the fingerprint for people to compare: sixteen groups of four.
func (f Fingerprint) Groups() []string {
	var groups []string
	for i := 0; i < len(f); i += 2 {
		groups = append(groups, fmt.Sprintf("%X", f[i:i+2]))
	}
	return groups
}

// uuid is the same for the same certificate, so that a profile that is installed
// again takes the place of the first (RFC 9562, version 8).
func (f Fingerprint) uuid(what string) string {
	h := sha256.Sum256(append(f[:], what...))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// PEM is the authority's certificate for tools.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Profile is a configuration profile that makes Apple's systems offer to trust
// the authority; it is not signed. description is a sentence for people.
func (a *Authority) Profile(description string) []byte {
	f := a.Fingerprint()
	id := fmt.Sprintf("local.gatehouse.%x", f[:8])
	var b bytes.Buffer
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` +
		"\n<plist version=\"1.0\">\n<dict>\n<key>PayloadContent</key>\n<array>\n<dict>\n")
	entry(&b, "PayloadCertificateFileName", "string", "gatehouse.cer")
	entry(&b, "PayloadContent", "data", base64.StdEncoding.EncodeToString(a.cert.Raw))
	payload(&b, a.Name(), description, id+".authority", "com.apple.security.root", f.uuid("authority"))
	b.WriteString("</dict>\n</array>\n")
	payload(&b, a.Name(), description, id, "Configuration", f.uuid("profile"))
	b.WriteString("</dict>\n</plist>\n")
	return b.Bytes()
}

func payload(b *bytes.Buffer, name, description, id, kind, uuid string) {
	entry(b, "PayloadDisplayName", "string", name)
	entry(b, "PayloadDescription", "string", description)
	entry(b, "PayloadIdentifier", "string", id)
	entry(b, "PayloadType", "string", kind)
	entry(b, "PayloadUUID", "string", uuid)
	entry(b, "PayloadVersion", "integer", "1")
}

func entry(b *bytes.Buffer, key, kind, text string) {
	fmt.Fprintf(b, "<key>%s</key>\n<%s>", key, kind)
	xml.EscapeText(b, []byte(text)) // a Buffer takes everything
	fmt.Fprintf(b, "</%s>\n", kind)
}
