"""Two Bluetooth controllers of bumble that share one link.

    python air.py SOCKET SOCKET

Each socket is a unix socket that takes one host at a time, framed as H4. It
says {"ready": "bumble", "version": ...} and ends with its input.
"""

import asyncio
import json
import sys
from importlib.metadata import version

from bumble.controller import Controller
from bumble.hci import Address, LeFeatureMask
from bumble.link import LocalLink
from bumble.transport import open_transport


async def controller(link, number, path):
    transport = await open_transport(f"unix-server:{path}")
    own = Address(f"02:B0:00:00:00:{number:02X}", Address.PUBLIC_DEVICE_ADDRESS)
    c = Controller(path, host_source=transport.source, host_sink=transport.sink, link=link, public_address=own)
    # The link names who sends data by its random address, whatever address the
    # connection was made with.
    c.random_address = own
    # With this feature it reports as extended what a legacy scan has found.
    c.le_features &= ~LeFeatureMask.LE_EXTENDED_ADVERTISING
    return transport


async def main(paths):
    link = LocalLink()
    transports = [await controller(link, number, path) for number, path in enumerate(paths, 1)]
    print(json.dumps({"ready": "bumble", "version": version("bumble")}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for t in transports:
        await t.close()


asyncio.run(main(sys.argv[1:]))
