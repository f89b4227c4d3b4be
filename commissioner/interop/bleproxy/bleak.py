"""What matter-ble-proxy wants of Bleak, on bumble's Bluetooth host.

Home Assistant, too, puts a client of its own in the place of Bleak's.
"""

import asyncio

from bumble.device import Peer
from bumble.hci import OwnAddressType

MTU = 247

device = None  # bumble's, once there is an adapter
busy = asyncio.Lock()  # an adapter makes one connection at a time


class Characteristic:
    def __init__(self, proxy):
        self.proxy, self.uuid = proxy, full(proxy.uuid)
        self.properties = [str(p.name).lower() for p in type(proxy.properties) if p in proxy.properties]


class Service:
    def __init__(self, proxy):
        self.uuid = full(proxy.uuid)
        self.characteristics = [Characteristic(c) for c in proxy.characteristics]


class Services(list):
    def get_service(self, uuid):
        return next((s for s in self if s.uuid == uuid), None)


def full(uuid):
    return str(uuid.to_hex_str("-")).lower() if len(uuid.uuid_bytes) == 16 else f"0000{uuid.to_hex_str().lower()}-0000-1000-8000-00805f9b34fb"


class BleakScanner:
    """Nobody uses it: the scan source is the adapter."""


class BleakClient:
    """One connection."""

    def __init__(self, target, disconnected_callback):
        self.target, self.gone = target, disconnected_callback
        self.connection, self.services, self.mtu_size = None, None, 23

    @property
    def is_connected(self):
        return self.connection is not None

    async def connect(self):
        async with busy:
            connection = await device.connect(self.target, own_address_type=OwnAddressType.PUBLIC)
        self.connection = connection
        connection.on("disconnection", self._disconnected)
        peer = Peer(connection)
        self.mtu_size = await peer.request_mtu(MTU)
        await peer.discover_services()
        for service in peer.services:
            await service.discover_characteristics()
        self.services = Services(Service(s) for s in peer.services)

    def _disconnected(self, _reason):
        if self.connection is not None:
            self.connection = None
            self.gone(self)

    async def disconnect(self):
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.disconnect()

    def _find(self, uuid):
        return next(c.proxy for s in self.services for c in s.characteristics if c.uuid == uuid)

    async def write_gatt_char(self, uuid, data, response):
        await self._find(uuid).write_value(data, with_response=response)

    async def start_notify(self, uuid, callback):
        await self._find(uuid).subscribe(lambda value: callback(None, bytearray(value)), prefer_notify=False)

    async def stop_notify(self, uuid):
        await self._find(uuid).unsubscribe()

    async def read_gatt_char(self, uuid):
        return await self._find(uuid).read_value()
