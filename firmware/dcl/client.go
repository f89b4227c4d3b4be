package dcl

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MainNet is the public node of the Connectivity Standards Alliance.
const MainNet = "https://on.dcl.csa-iot.org"

var (
	// ErrUnknown says that the ledger has no record.
	ErrUnknown = errors.New("the compliance ledger does not know it")
	// ErrUnreachable says that the ledger's node gave no answer.
	ErrUnreachable = errors.New("the compliance ledger cannot be asked")
)

// Client asks a node of the ledger over its REST API.
type Client struct {
	HTTP *http.Client // with a time limit
	URL  string       // of the node; MainNet is one
	Now  func() time.Time
}

// CheckURL refuses addresses of nodes whose answers anybody on the way could
// change.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	ip := net.ParseIP(u.Hostname())
	if u.Host == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && ip != nil && ip.IsLoopback()) {
		return fmt.Errorf("%q is not the address of a node: https:// and a host are due", s)
	}
	return nil
}

// Product asks for a product, and for its versions from one on.
func (c *Client) Product(ctx context.Context, vendor, product uint16, from uint32) (*Product, error) {
	if err := CheckURL(c.URL); err != nil {
		return nil, err
	}
	var m struct {
		Model struct {
			VID, PID    uint16
			ProductName string
		}
	}
	if err := c.get(ctx, fmt.Sprintf("/dcl/model/models/%d/%d", vendor, product), &m); err != nil {
		return nil, err
	}
	var list struct {
		ModelVersions struct {
			VID, PID         uint16
			SoftwareVersions []uint32
		}
	}
	err := c.get(ctx, fmt.Sprintf("/dcl/model/versions/%d/%d", vendor, product), &list)
	if err != nil && !errors.Is(err, ErrUnknown) { // a product may have none yet
		return nil, err
	}
	l := list.ModelVersions
	if m.Model.VID != vendor || m.Model.PID != product || err == nil && (l.VID != vendor || l.PID != product) {
		return nil, fmt.Errorf("the compliance ledger answers for another product than %04X/%04X", vendor, product)
	}
	p := &Product{VendorID: vendor, ProductID: product, Name: cut(m.Model.ProductName), Fetched: c.Now().UnixMilli(), From: from}
	slices.Sort(l.SoftwareVersions)
	for _, n := range slices.Compact(l.SoftwareVersions) {
		if n < from {
			continue
		}
		if len(p.Versions) == maxVersions {
			return nil, fmt.Errorf("product %04X/%04X has more than %d versions", vendor, product, maxVersions)
		}
		v, err := c.version(ctx, vendor, product, n)
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", n, err)
		}
		p.Versions = append(p.Versions, *v)
	}
	return p, p.check()
}

// version asks for one version and its compliance.
func (c *Client) version(ctx context.Context, vendor, product uint16, n uint32) (*Version, error) {
	var m struct {
		ModelVersion struct {
			VID, PID                                                   uint16
			SoftwareVersion                                            uint32
			SoftwareVersionString                                      string
			SoftwareVersionValid                                       bool
			OTAURL                                                     string
			OTAFileSize                                                json.Number // protobuf's JSON has it as a string
			OTAChecksum                                                string      // base64
			OTAChecksumType                                            uint8
			MinApplicableSoftwareVersion, MaxApplicableSoftwareVersion uint32
			ReleaseNotesURL, FirmwareInformation                       string
		}
	}
	if err := c.get(ctx, fmt.Sprintf("/dcl/model/versions/%d/%d/%d", vendor, product, n), &m); err != nil {
		return nil, err
	}
	r := m.ModelVersion
	if r.VID != vendor || r.PID != product || r.SoftwareVersion != n {
		return nil, errors.New("the compliance ledger answers for another one")
	}
	v := &Version{Version: n, VersionString: cut(r.SoftwareVersionString), Invalid: !r.SoftwareVersionValid, ReleaseNotes: cut(r.ReleaseNotesURL), Firmware: r.FirmwareInformation}
	if r.OTAURL != "" {
		digest, err := base64.StdEncoding.DecodeString(r.OTAChecksum)
		size, err2 := strconv.ParseUint(cmp.Or(string(r.OTAFileSize), "0"), 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("its image's checksum or size cannot be read: %w", err)
		}
		if strings.HasPrefix(r.OTAURL, "https://") { // the ledger has http too: then there is no image for us
			v.OTA = &OTA{r.OTAURL, size, digest, r.OTAChecksumType, r.MinApplicableSoftwareVersion, r.MaxApplicableSoftwareVersion}
		}
	}
	var err error
	v.Status, v.Reason, err = c.compliance(ctx, vendor, product, n)
	return v, err
}

func (c *Client) compliance(ctx context.Context, vendor, product uint16, n uint32) (Status, string, error) {
	var m struct {
		ComplianceInfo struct {
			VID, PID                           uint16
			SoftwareVersion                    uint32
			SoftwareVersionCertificationStatus Status
			Reason                             string
		}
	}
	err := c.get(ctx, fmt.Sprintf("/dcl/compliance/compliance-info/%d/%d/%d/matter", vendor, product, n), &m)
	r := m.ComplianceInfo
	switch {
	case errors.Is(err, ErrUnknown):
		return Unlisted, "", nil
	case err != nil:
		return 0, "", err
	case r.VID != vendor || r.PID != product || r.SoftwareVersion != n || r.SoftwareVersionCertificationStatus > Revoked:
		return 0, "", errors.New("the compliance ledger's answer makes no sense")
	}
	return r.SoftwareVersionCertificationStatus, cut(r.Reason), nil
}

// get asks for one thing.
func (c *Client) get(ctx context.Context, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.URL, "/")+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %s", ErrUnknown, path)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: %s", ErrUnreachable, resp.Status)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return parse(b, answer)
}

// parse reads one answer, exactly.
func parse(b []byte, answer any) error {
	if len(b) > maxAnswer {
		return fmt.Errorf("the compliance ledger's answer is longer than %d octets", maxAnswer)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(answer); err != nil {
		return fmt.Errorf("the compliance ledger's answer: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("the compliance ledger's answer goes on behind its end")
	}
	return nil
}

// cut bounds a text that is only shown.
func cut(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}
