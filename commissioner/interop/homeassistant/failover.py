"""Home Assistant's client, while the gateway that it talks to is lost.

    python failover.py CODE FINGERPRINT ADDRESS

The first line of its input is the URL, with its token, of a Matter Server at
the home's name, which this program resolves by multicast DNS on eth0, as Home
Assistant's host does. FINGERPRINT is of the
authority that certified it (SHA-256), whose certificate is at ADDRESS/ca.pem.
CODE is the manual code of a light that waits to be paired.

It speaks as client.py does. At "lose" the home loses the gateway.
"""

import asyncio
import socket
import struct
import sys
import time

import aiohttp
from aiohttp.abc import AbstractResolver
from chip.clusters import Objects as clusters
from matter_server.client.exceptions import MatterClientException
from matter_server.common.models import APICommand, EventType

from client import Session, check, say, trust, want

LINK = "eth0"
AAAA, IN = 28, 1


def answers(packet):
    """The addresses in a DNS message's answers."""
    at, (questions, records) = 12, struct.unpack("!HH", packet[4:8])

    def name(at):
        while packet[at] not in (0,) and packet[at] < 0xC0:
            at += 1 + packet[at]
        return at + (2 if packet[at] >= 0xC0 else 1)

    for _ in range(questions):
        at = name(at) + 4
    for _ in range(records):
        at = name(at)
        kind, _, _, size = struct.unpack("!HHIH", packet[at : at + 10])
        at += 10
        if kind == AAAA:
            yield socket.inet_ntop(socket.AF_INET6, packet[at : at + size])
        at += size


class Multicast(AbstractResolver):
    async def resolve(self, host, port=0, family=socket.AF_INET6):
        found = await asyncio.get_running_loop().run_in_executor(None, self.ask, host)
        if not found:
            raise OSError(f"nobody is called {host}")
        return [{"hostname": host, "host": a, "port": port, "family": socket.AF_INET6, "proto": 0, "flags": 0} for a in found]

    def ask(self, host):
        query = struct.pack("!HHHHHH", 0, 0, 1, 0, 0, 0)
        query += b"".join(bytes([len(p)]) + p.encode() for p in host.split(".")) + b"\0" + struct.pack("!HH", AAAA, IN)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.settimeout(1)
            s.sendto(query, ("ff02::fb", 5353, 0, socket.if_nametoindex(LINK)))
            try:
                packet, _ = s.recvfrom(9000)
            except TimeoutError:
                return []
            return [a for a in answers(packet) if not a.startswith("fe80")]

    async def close(self):
        pass


class Home(Session):
    def session(self):
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Multicast(), ssl=self.tls, use_dns_cache=False))


async def toggled(s, node):
    known = s.client.get_node(node)
    on = known.get_attribute_value(1, None, clusters.OnOff.Attributes.OnOff)
    s.events.clear()
    await s.client.send_device_command(node, 1, clusters.OnOff.Commands.Toggle())
    await s.event(EventType.ATTRIBUTE_UPDATED, lambda v: v is not on)


async def ids(s):
    info = await s.client.send_command(APICommand.SERVER_INFO)
    return {"fabric": info["fabric_id"], "compressed": info["compressed_fabric_id"], "controller": info["controller_node_id"], "nodes": [n.node_id for n in s.client.get_nodes()]}


async def main(code, fingerprint, address):
    url = sys.stdin.readline().strip()
    tls = trust(address, fingerprint)
    async with Home(url, tls) as s:
        node = (await s.client.commission_with_code(code)).node_id
        await toggled(s, node)
        before = await ids(s)
        check(before["nodes"] == [node], before)
        say(step="paired", ms=0)
        check(await want("lose", node))
        lost = time.monotonic()
        await asyncio.wait({s.listening}, timeout=60)
        check(s.listening.done(), "the client does not notice")
        noticed = time.monotonic()
        # What ended it is Home Assistant's to take as a lost connection.
        s.listening = asyncio.create_task(asyncio.sleep(0))
    while True:
        try:
            async with Home(url, tls) as s:
                back = time.monotonic()
                check(await ids(s) == before, await ids(s), before)
                if not s.client.get_node(node).available:
                    await s.event(EventType.NODE_UPDATED, lambda n: n.node_id == node and n.available)
                await toggled(s, node)
                say(step="noticed", ms=round((noticed - lost) * 1000))
                say(step="back", ms=round((back - lost) * 1000))
                say(step="switched", ms=round((time.monotonic() - lost) * 1000))
                say(ids=await ids(s))
                return
        except (OSError, aiohttp.ClientError, MatterClientException, TimeoutError) as e:
            check(time.monotonic() - lost < 60, "nobody answers", e)
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
