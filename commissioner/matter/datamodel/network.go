package datamodel

import (
	"fmt"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// NetworkCommissioning: how a node joins a network. Each network interface has
// the cluster on an endpoint of its own, the first on the root endpoint
// (Matter Core 11.9).
const (
	NetworkCommissioning                          = interaction.ClusterID(0x0031)
	NetworkMax            interaction.AttributeID = 0
	NetworkList           interaction.AttributeID = 1
	NetworkScanMaxTime    interaction.AttributeID = 2 // s
	NetworkConnectMaxTime interaction.AttributeID = 3 // s
	NetworkEnabled        interaction.AttributeID = 4
	NetworkLastStatus     interaction.AttributeID = 5
	NetworkLastID         interaction.AttributeID = 6
	NetworkLastError      interaction.AttributeID = 7
	NetworkWiFiBands      interaction.AttributeID = 8
	NetworkThreadFeatures interaction.AttributeID = 9
	NetworkThreadVersion  interaction.AttributeID = 10

	ScanNetworksID          interaction.CommandID = 0
	ScanNetworksResponseID  interaction.CommandID = 1
	AddWiFiNetworkID        interaction.CommandID = 2
	AddThreadNetworkID      interaction.CommandID = 3
	RemoveNetworkID         interaction.CommandID = 4
	NetworkConfigResponseID interaction.CommandID = 5
	ConnectNetworkID        interaction.CommandID = 6
	ConnectNetworkRspID     interaction.CommandID = 7
	ReorderNetworkID        interaction.CommandID = 8

	FeatureWiFi     uint32 = 1 << 0
	FeatureThread   uint32 = 1 << 1
	FeatureEthernet uint32 = 1 << 2
)

// NetworkingStatus is how a command of NetworkCommissioning went.
type NetworkingStatus uint8

const (
	NetworkingOK NetworkingStatus = iota
	NetworkingOutOfRange
	NetworkingBoundsExceeded
	NetworkingIDNotFound
	NetworkingDuplicateID
	NetworkingNotFound
	NetworkingRegulatory
	NetworkingAuthFailure
	NetworkingUnsupportedSecurity
	NetworkingOtherFailure
	NetworkingIPv6Failed
	NetworkingIPBindFailed
	NetworkingUnknownError
)

func (s NetworkingStatus) String() string {
	names := [...]string{"success", "out of range", "bounds exceeded", "network id not found", "duplicate network id", "network not found",
		"regulatory error", "authentication failure", "unsupported security", "other connection failure", "IPv6 failed", "IP bind failed", "unknown error"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("networking status %d", uint8(s))
}

// NetworkInfo is a network that a node knows.
type NetworkInfo struct {
	ID        []byte `tlv:"0"` // SSID or extended PAN id
	Connected bool   `tlv:"1"`
}

// ScanNetworks looks for networks, all of them if SSID is nil.
type ScanNetworks struct {
	SSID       []byte `tlv:"0,omitempty"`
	Breadcrumb uint64 `tlv:"1"`
}

// ScanNetworksResponse is what a node sees.
type ScanNetworksResponse struct {
	Status NetworkingStatus `tlv:"0"`
	Text   string           `tlv:"1,omitempty"`
	WiFi   []WiFiScanned    `tlv:"2,omitempty"`
	Thread []ThreadScanned  `tlv:"3,omitempty"`
}

// WiFiBand is a range of frequencies.
type WiFiBand uint8

// WiFi2G4 is the band around 2.4 GHz.
const WiFi2G4 WiFiBand = 0

// WiFiScanned is one access point.
type WiFiScanned struct {
	Security uint8    `tlv:"0"` // bitmap
	SSID     []byte   `tlv:"1"`
	BSSID    []byte   `tlv:"2,omitempty"`
	Channel  uint16   `tlv:"3,omitempty"`
	Band     WiFiBand `tlv:"4,omitempty"`
	RSSI     int8     `tlv:"5,omitempty"` // dBm
}

// WiFiUnencrypted is the bit of Security of a network without a password.
const WiFiUnencrypted = 1 << 0

// ThreadScanned is one Thread router.
type ThreadScanned struct {
	PANID           uint16 `tlv:"0,omitempty"`
	ExtendedPANID   uint64 `tlv:"1"`
	Name            string `tlv:"2,omitempty"`
	Channel         uint16 `tlv:"3,omitempty"`
	Version         uint8  `tlv:"4,omitempty"`
	ExtendedAddress []byte `tlv:"5,omitempty"`
	RSSI            int8   `tlv:"6,omitempty"` // dBm
	LQI             uint8  `tlv:"7,omitempty"`
}

// AddWiFiNetwork tells a node a network's password, 0 to 64 octets.
type AddWiFiNetwork struct {
	SSID        []byte `tlv:"0"`
	Credentials []byte `tlv:"1"`
	Breadcrumb  uint64 `tlv:"2"`
}

// AddThreadNetwork tells a node a network's operational dataset.
type AddThreadNetwork struct {
	Dataset    []byte `tlv:"0"`
	Breadcrumb uint64 `tlv:"1"`
}

// NetworkID is RemoveNetwork and ConnectNetwork.
type NetworkID struct {
	ID         []byte `tlv:"0"`
	Breadcrumb uint64 `tlv:"1"`
}

// ReorderNetwork gives a network another place among those a node tries in
// order.
type ReorderNetwork struct {
	ID         []byte `tlv:"0"`
	Index      uint8  `tlv:"1"`
	Breadcrumb uint64 `tlv:"2"`
}

// NetworkConfigResponse answers the commands that change a node's networks.
type NetworkConfigResponse struct {
	Status NetworkingStatus `tlv:"0"`
	Text   string           `tlv:"1,omitempty"`
	Index  *uint8           `tlv:"2,omitempty"`
}

// ConnectNetworkResponse answers ConnectNetwork. Error is the node's own.
type ConnectNetworkResponse struct {
	Status NetworkingStatus `tlv:"0"`
	Text   string           `tlv:"1,omitempty"`
	Error  tlv.Null[int32]  `tlv:"2,omitempty"`
}
