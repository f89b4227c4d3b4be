package ble

import (
	"encoding/binary"

	"gatehouse/radio"
	"gatehouse/radio/ble/wire"
)

// Specification constants: an advertising packet (Bluetooth Core, volume 3,
// part C, section 11) and the service data that Matter puts into it.
const (
	typeServiceData16 = 0x16

	opcodeCommissionable = 0x00
	serviceDataLen       = 8
	maskDiscriminator    = 0x0fff // the upper four bits are the version
	flagAdditionalData   = 1 << 0
	flagExtended         = 1 << 1
)

// Commissionable reads what a device that can be commissioned advertises: a
// service data structure of Matter's anywhere in data. ok is false when there
// is none. Structures that are malformed end the data; longer service data is
// taken for a later version of the same.
func Commissionable(data []byte) (ad radio.Advertisement, ok bool) {
	for len(data) > 0 {
		size := int(data[0])
		if size == 0 || size > len(data)-1 {
			return ad, false
		}
		var structure []byte
		structure, data = data[1:1+size], data[1+size:]
		if size < 3 || structure[0] != typeServiceData16 || binary.LittleEndian.Uint16(structure[1:]) != ServiceUUID {
			continue
		}
		if ad, ok = ServiceData(structure[3:]); ok {
			return ad, true
		}
	}
	return ad, false
}

// ServiceData reads the service data of Matter's service alone. ok is false
// when it is not of a device that can be commissioned.
func ServiceData(b []byte) (ad radio.Advertisement, ok bool) {
	if len(b) < serviceDataLen || b[0] != opcodeCommissionable {
		return ad, false
	}
	return radio.Advertisement{
		Kind:             radio.Commissionable,
		Discriminator:    binary.LittleEndian.Uint16(b[1:]) & maskDiscriminator,
		HasDiscriminator: true,
		Vendor:           binary.LittleEndian.Uint16(b[3:]),
		Product:          binary.LittleEndian.Uint16(b[5:]),
		AdditionalData:   b[7]&flagAdditionalData != 0,
		Extended:         b[7]&flagExtended != 0,
	}, true
}

// Advertising is the inverse of Commissionable: the data a device advertises,
// which begins with its flags.
func Advertising(ad radio.Advertisement) []byte {
	const flags, generalLEOnly = 0x01, 0x06
	b := []byte{2, flags, generalLEOnly, 3 + serviceDataLen, typeServiceData16}
	b = binary.LittleEndian.AppendUint16(b, ServiceUUID)
	b = append(b, opcodeCommissionable)
	b = binary.LittleEndian.AppendUint16(b, ad.Discriminator&maskDiscriminator)
	b = binary.LittleEndian.AppendUint16(b, ad.Vendor)
	b = binary.LittleEndian.AppendUint16(b, ad.Product)
	var more byte
	if ad.AdditionalData {
		more |= flagAdditionalData
	}
	if ad.Extended {
		more |= flagExtended
	}
	return append(b, more)
}

// advertisement is what a report says, if it is of a device to commission.
func advertisement(m wire.Message) (radio.Advertisement, bool) {
	ad, ok := Commissionable(m.Data)
	ad.RSSI = m.RSSI
	ad.Addrs = []radio.Addr{Addr(m.Peer)}
	return ad, ok
}
