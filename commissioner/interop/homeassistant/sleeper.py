"""Home Assistant's client, which has a light sleep long.

    python sleeper.py CODE FINGERPRINT ADDRESS

Its arguments and the first line of its input are those of failover.py. It says
{"ids": …} when the light is registered, and ends.
"""

import asyncio
import sys

from client import check, say, trust
from failover import Home, ids


async def main(code, fingerprint, address):
    url = sys.stdin.readline().strip()
    async with Home(url, trust(address, fingerprint)) as s:
        node = (await s.client.commission_with_code(code)).node_id
        check((await s.client.register_icd(node)).registered)
        while (await s.client.get_icd_state(node)).operating_mode != "LIT":
            await asyncio.sleep(0.1)
        say(ids=await ids(s))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
