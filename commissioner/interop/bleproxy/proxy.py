"""Open Home Foundation's matter-ble-proxy between a gateway and an emulated air.

    python proxy.py AIR GATEWAY

AIR is the unix socket of a controller, GATEWAY that of a gateway's API. It
says {"ready": "matter-ble-proxy", "version": ...} and ends with its input, or
when the gateway has ended the connection.
"""

import asyncio
import json
import logging
import sys
from importlib.metadata import version

import aiohttp
import bleak  # ours, beside this file
from bumble.core import AdvertisingData
from bumble.device import Device
from bumble.hci import Address, OwnAddressType
from bumble.transport import open_transport
from matter_ble_proxy.client import BleDeviceResolver, BleScanSource, MatterBleProxy
from matter_ble_proxy.protocol import AdvertisementData


class Adapter(BleScanSource, BleDeviceResolver):
    """The one adapter: scans, and knows the addresses it has heard."""

    async def open(self, socket):
        transport = await open_transport(f"unix-client:{socket}")
        self.device = Device.with_hci("proxy", Address("02:B1:00:00:00:01", Address.PUBLIC_DEVICE_ADDRESS), transport.source, transport.sink)
        self.device.on("advertisement", self._heard)
        self.heard, self.callback = {}, None
        await self.device.power_on()
        bleak.device = self.device

    def _heard(self, ad):
        address = str(ad.address).removesuffix("/P").upper()
        self.heard[address] = ad.address
        data, uuids = {}, []
        for kind, value in ad.data.ad_structures:
            if kind == AdvertisingData.SERVICE_DATA_16_BIT_UUID and len(value) > 2:
                uuid = f"0000{value[1]:02x}{value[0]:02x}-0000-1000-8000-00805f9b34fb"  # as Bleak has it
                data[uuid] = value[2:]
                uuids.append(uuid)
        if self.callback:
            self.callback(AdvertisementData(address, None, ad.rssi, ad.is_connectable, data, {}, uuids))

    async def start(self, callback):
        self.callback = callback
        await self.device.start_scanning(legacy=True, filter_duplicates=False, own_address_type=OwnAddressType.PUBLIC)

    async def stop(self):
        self.callback = None
        await self.device.stop_scanning(legacy=True)

    async def resolve(self, address):
        return self.heard.get(address)


async def main(air, gateway):
    adapter = Adapter()
    await adapter.open(air)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(gateway)) as session:
        proxy = MatterBleProxy("ws://gateway/ble", adapter, adapter, session=session)
        await proxy.connect()
        print(json.dumps({"ready": "matter-ble-proxy", "version": version("matter-ble-proxy")}), flush=True)
        stdin = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
        ended = asyncio.create_task(stdin.read())
        closed = asyncio.create_task(proxy.run_until_closed())
        await asyncio.wait([ended, closed], return_when=asyncio.FIRST_COMPLETED)
        await proxy.disconnect()


logging.basicConfig(level=logging.INFO)
asyncio.run(main(*sys.argv[1:]))
