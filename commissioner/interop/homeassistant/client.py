"""Home Assistant's client in a session of all commands.

    python client.py URL [CODE [hasty]]

URL is a Matter Server's, as Home Assistant is given it, or - for one whose
first lines of input are its URL, the fingerprint of the authority that
certified it (SHA-256) and where that one's certificate is: ADDRESS/ca.pem. CODE the manual code
of a light that waits to be paired, and is the only one that does. Hasty, it
leaves out what takes a server that really looks for devices a minute.

It says one JSON object a line: {"step": NAME, "ms": N} after each step,
{"want": ACTION, "node": ID} where the home must do something that only the
home can (then it waits for a line: "done", or "skip" to leave the step out),
and at the end {"ids": {...}}, by which the next session can be held to this
one. What goes wrong ends it, on the standard error.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import ssl
import sys
import time
import urllib.request

import aiohttp
from chip.clusters import Objects as clusters
from chip.clusters.Types import NullValue
from matter_server.client import MatterClient
from matter_server.client.exceptions import ServerVersionTooOld
from matter_server.common import errors
from matter_server.common.models import APICommand, EventType

PATIENCE = 20  # seconds
TEST_NODES = 0xFFFF_FFFE_0000_0000
IMAGE = b"an image"


def say(**line):
    print(json.dumps(line), flush=True)


def check(condition, *what):
    if not condition:
        raise AssertionError(*what)


def trust(address, fingerprint):
    """As a person does who compares the fingerprint once."""
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(address + "/ca.pem", context=blind) as answer:
        pem = answer.read().decode()
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    check(digest == re.sub("[^0-9a-f]", "", fingerprint.lower()), "another authority", digest)
    return ssl.create_default_context(cadata=pem)


class Session:
    """One client, and what it is told."""

    def __init__(self, url, tls=None):
        self.url = url
        self.tls = tls
        self.events = []
        self.came = asyncio.Event()

    async def __aenter__(self):
        self.http = self.session()
        self.client = MatterClient(self.url, self.http)
        self.client.subscribe_events(self.told)
        ready = asyncio.Event()
        self.listening = asyncio.create_task(self.client.start_listening(ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self.listening, waiting}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if self.listening.done():
            await self.listening
        check(ready.is_set(), "the server does not answer start_listening")
        return self

    def session(self):
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls or True))

    async def __aexit__(self, *_):
        await self.client.disconnect()
        # What broke the client's reading breaks the session.
        with contextlib.suppress(asyncio.CancelledError):
            await self.listening
        await self.http.close()

    def told(self, event, data):
        self.events.append((event, data))
        self.came.set()

    async def event(self, event, fits=lambda data: True):
        """The first event of a kind that fits, from what has come or comes."""
        end = time.monotonic() + PATIENCE
        while True:
            for i, (kind, data) in enumerate(self.events):
                if kind == event and fits(data):
                    del self.events[: i + 1]
                    return data
            check(not self.listening.done(), "the client stopped listening")
            left = end - time.monotonic()
            check(left > 0, f"no {event} within {PATIENCE} s", self.events)
            self.came.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.came.wait(), left)


async def fails(error, doing, text=""):
    try:
        await doing
    except error as e:
        check(text.lower() in str(e).lower(), "another text", str(e))
        return e
    raise AssertionError(f"no {error.__name__}")


async def want(action, node):
    say(want=action, node=node)
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return line.strip() == "done"


async def greeting(s, state):
    info = s.client.server_info
    check((info.schema_version, info.min_supported_schema_version) == (13, 11), info)
    again = await s.client.send_command(APICommand.SERVER_INFO)
    check(again["compressed_fabric_id"] == info.compressed_fabric_id, again)
    state["ids"] = {"fabric": info.fabric_id, "compressed": info.compressed_fabric_id, "controller": again["controller_node_id"], "nodes": []}
    diagnostics = await s.client.get_diagnostics()
    check(diagnostics.info.schema_version == 13 and isinstance(diagnostics.events, list), diagnostics)
    names = await s.client.send_command(APICommand.GET_VENDOR_NAMES)
    check(len(names) > 4 and "65521" in names, len(names))
    check(len(await s.client.send_command(APICommand.GET_VENDOR_NAMES, filter_vendors=[0xFFF1, 0x1234])) <= 2)
    async with s.http.get(s.client.connection.ota_upload_url("").removesuffix("ota-upload/") + "health") as response:
        health = await response.json()
        check(response.status == 200 and isinstance(health["node_count"], int) and health["version"], health)


async def credentials(s, state):
    await s.client.set_wifi_credentials("TestNetwork", "TestPassword123")
    told = await s.event(EventType.SERVER_INFO_UPDATED)
    check(told["wifi_credentials_set"] is True, told)
    await s.client.set_wifi_credentials("Second", "TestPassword456", "den")
    await fails(errors.InvalidArguments, s.client.set_wifi_credentials("Third", "", "attic"))
    dataset = "0e080000000000010000000300000f3506000407fff800020811111111222222220708fd001122334455660510000102030405060708090a0b0c0d0e0f03076b69746368656e010212340410101112131415161718191a1b1c1d1e1f0c0402a0f7f8"
    await s.client.set_thread_operational_dataset(dataset)
    await fails(errors.InvalidArguments, s.client.set_thread_operational_dataset("0e0"))
    kept = await s.client.get_all_credentials()
    check({w["id"] for w in kept["wifi"]} == {"default", "den"} and kept["thread"][0]["id"] == "default", kept)
    check("TestPassword" not in json.dumps(kept) and dataset not in json.dumps(kept), kept)
    await s.client.remove_wifi_credentials("den")
    await s.client.remove_wifi_credentials()
    await s.client.remove_thread_dataset()
    info = await s.client.send_command(APICommand.SERVER_INFO)
    check(not info["wifi_credentials_set"] and not info["thread_credentials_set"], info)


async def label(s, state):
    await s.client.set_default_fabric_label("Test Fabric Label")
    check(await s.client.get_fabric_label() == "Test Fabric Label")
    await s.client.set_default_fabric_label("")
    check(await s.client.get_fabric_label())


async def mistakes(s, state):
    send = s.client.send_command
    await fails(errors.NodeNotExists, send("get_node", node_id=999999), "999999")
    await fails(errors.InvalidCommand, send("unknown_command_xyz"), "unknown_command_xyz")
    await fails(errors.InvalidArguments, send("commission_on_network", setup_pin_code=12345678, filter_type=1), "filter")
    await fails(errors.InvalidArguments, s.client.write_attribute(1, "0/40/*", "x"), "wildcard")
    await fails(errors.InvalidArguments, send("import_test_node", dump=json.dumps({"data": {}})), "Invalid dump format")
    await fails(errors.NodeNotExists, s.client.remove_node(999999), "999999")
    await fails(errors.NodeNotExists, s.client.register_icd(999999), "999999")
    if state["patient"]:  # a real server looks for a device for a minute
        await fails(errors.NodeCommissionFailed, send("commission_on_network", setup_pin_code=20202022, filter_type=2, filter=1))
    await fails(ServerVersionTooOld, s.client.enable_auto_subscription(1))


async def pairing(s, state):
    found = await s.client.discover_commissionable_nodes()
    check(any(f.vendor_id == 0xFFF1 and f.long_discriminator == 3840 for f in found), found)
    data = await s.client.commission_with_code(state["code"])
    state["node"] = node = data.node_id
    check(data.available and not data.is_bridge, data)
    check(data.attributes["0/40/1"] and data.attributes["1/6/0"] is False, data.attributes)
    # The node was announced before the command was answered.
    check(any(e == EventType.NODE_ADDED and d.node_id == node for e, d in s.events), s.events)
    known = s.client.get_node(node)
    check(known.device_info.vendorName == data.attributes["0/40/1"] and 1 in known.endpoints, known)
    check(known.endpoints[1].has_attribute(None, clusters.OnOff.Attributes.OnOff))
    listed = await s.client.send_command(APICommand.GET_NODES, only_available=True)
    check([n["node_id"] for n in listed] == [node], listed)
    state["ids"]["nodes"] = [node]
    state["has"] = data.attributes


async def sleeping(s, node, icd):
    check(icd.lit_supported and not icd.registered and icd.operating_mode == "SIT" and icd.available, icd)
    check((await s.client.register_icd(node)).registered)
    while (icd := await s.client.get_icd_state(node)).operating_mode != "LIT":
        await asyncio.sleep(0.1)
    check(icd.registered and icd.awake and icd.available and icd.next_expected_checkin > 0, icd)
    await s.client.resync_icd(node)
    check((await s.client.get_icd_state(node)).registered)
    check(not (await s.client.unregister_icd(node)).registered)
    while (icd := await s.client.get_icd_state(node)).operating_mode != "SIT":
        await asyncio.sleep(0.1)
    check(not icd.registered and icd.next_expected_checkin is None, icd)


async def about(s, state):
    node = state["node"]
    addresses = await s.client.get_node_ip_addresses(node, prefer_cache=False, scoped=False)
    check(addresses and not any("%" in a for a in addresses), addresses)
    check(any((await s.client.ping_node(node)).values()))
    fabrics = await s.client.get_matter_fabrics(node)
    check(any(f.fabric_index == 1 for f in fabrics), fabrics)
    listed = await s.client.send_command("get_matter_fabrics", node_id=node)
    check({f["fabric_id"] for f in listed} == {f.fabric_id for f in fabrics}, listed)
    icd = await s.client.get_icd_state(node)
    if icd.supported:
        await sleeping(s, node, icd)
    else:
        check(icd.operating_mode is None and not icd.lit_supported, icd)
        check(not (await s.client.unregister_icd(node)).registered)
    diagnostics = await s.client.node_diagnostics(node)
    check(diagnostics.node_id == node and diagnostics.active_fabric_index == 1, diagnostics)


async def reading(s, state):
    node, read = state["node"], s.client.read_attribute
    check(await read(node, "0/40/1") == {"0/40/1": state["has"]["0/40/1"]})
    check((await read(node, ["0/40/1", "0/40/3"]))["0/40/3"] == state["has"]["0/40/3"])
    check(len(await read(node, "0/40/*")) > 5)
    check((await read(node, "*/6/0"))["1/6/0"] is False)
    check(len(await read(node, [f"0/40/{i}" for i in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17)])) >= 8)
    await fails(errors.SDKStackError, read(node, "9/9/9"))


async def writing(s, state):
    node = state["node"]
    check((await s.client.write_attribute(node, "0/40/5", "Den"))[0]["Status"] == 0)
    check(await s.client.read_attribute(node, "0/40/5") == {"0/40/5": "Den"})
    check((await s.client.write_attribute(node, "0/40/5", "x" * 33))[0]["Status"] == 0x87)
    if "1/65/0" not in state["has"]:  # a light without them is a light
        return
    labels = [clusters.UserLabel.Structs.LabelStruct(label="room", value="den")]
    check((await s.client.write_attribute(node, "1/65/0", labels))[0]["Status"] == 0)
    check(await s.client.read_attribute(node, "1/65/0") == {"1/65/0": [{"0": "room", "1": "den"}]})
    check((await s.client.write_attribute(node, "1/6/16387", NullValue))[0]["Status"] == 0)


async def commands(s, state):
    node = state["node"]
    for command, on in (("Toggle", True), ("Toggle", False), ("On", True), ("Off", False)):
        s.events.clear()
        await s.client.send_device_command(node, 1, getattr(clusters.OnOff.Commands, command)())
        await s.event(EventType.ATTRIBUTE_UPDATED, lambda v, on=on: v is on)
    check(s.client.get_node(node).get_attribute_value(1, None, clusters.OnOff.Attributes.OnOff) is False)
    if "1/3/0" in state["has"]:
        await s.client.send_device_command(node, 1, clusters.Identify.Commands.Identify(identifyTime=3))
    if "1/4/0" in state["has"]:
        answer = await s.client.send_device_command(node, 1, clusters.Groups.Commands.AddGroup(groupID=7, groupName="den"))
        check(answer["groupID"] == answer["groupId"] == 7, answer)
    error = await fails(errors.SDKStackError, s.client.send_device_command(node, 7, clusters.OnOff.Commands.On()))
    check(error.status == 0x7F, error.status)
    await fails(errors.InvalidArguments, s.client.send_command(APICommand.DEVICE_COMMAND, node_id=node, endpoint_id=1, cluster_id=6, command_name="Explode", payload={}))


async def looking(s, state):
    s.events.clear()
    await s.client.interview_node(state["node"])
    await s.event(EventType.NODE_UPDATED, lambda n: n.node_id == state["node"])


async def windows(s, state):
    first = await s.client.open_commissioning_window(state["node"], timeout=180)
    check(isinstance(first.setup_pin_code, int) and first.setup_qr_code.startswith("MT:") and first.setup_manual_code, first)
    check(await s.client.open_commissioning_window(state["node"], timeout=180) == first)


async def access(s, state):
    node = state["node"]
    entries = (await s.client.read_attribute(node, "0/31/0"))["0/31/0"]
    written = await s.client.send_command(APICommand.SET_ACL_ENTRY, node_id=node,
                                          entry=[{"privilege": e["1"], "auth_mode": e["2"], "subjects": e["3"], "targets": e["4"]} for e in entries])
    check(written[0]["status"] == 0, written)
    await fails(errors.InvalidArguments, s.client.send_command(APICommand.SET_ACL_ENTRY, node_id=node, entry=[]))
    if "1/30/0" not in state["has"]:
        return
    bound = await s.client.send_command(APICommand.SET_NODE_BINDING, node_id=node, endpoint=1,
                                        bindings=[{"node": node, "group": None, "endpoint": 1, "cluster": 6}])
    check(bound[0]["status"] == 0, bound)
    await fails(errors.InvalidArguments, s.client.remove_matter_fabric(node, 1), "remove_node")


async def happenings(s, state):
    node = state["node"]
    s.events.clear()
    if await want("press", node):
        event = await s.event(EventType.NODE_EVENT)
        check((event.endpoint_id, event.cluster_id, event.event_id, event.data) == (1, 59, 1, {"newPosition": 1}), event)
    if await want("add-endpoint", node):
        added = await s.event(EventType.ENDPOINT_ADDED)
        check(added["endpoint_id"] in s.client.get_node(node).endpoints, added)
    if await want("remove-endpoint", node):
        await s.event(EventType.ENDPOINT_REMOVED)
    for action, available in (("leave", False), ("return", True)):
        if await want(action, node):
            await s.event(EventType.NODE_UPDATED, lambda n: n.node_id == node and n.available is available)


async def updates(s, state):
    node = state["node"]
    version = await s.client.check_node_update(node)
    if version is not None:
        s.events.clear()
        await s.client.update_node(node, str(version.software_version))
        await s.event(EventType.ATTRIBUTE_UPDATED)
    await fails(errors.UpdateError, s.client.update_node(node, 77))
    await fails(errors.OtaUploadError, s.client.upload_ota_file(b"not a real image"))
    if await want("upload", node):
        check((await s.client.upload_ota_file(IMAGE)).update_source.value == "local")
    ticket = await s.client.send_command(APICommand.INITIATE_OTA_UPLOAD)
    check((await s.client.connection.post_ota_upload(ticket["upload_id"], b"x"))[0] == 400)
    status, body = await s.client.connection.post_ota_upload(ticket["upload_id"], b"x")
    check(status == 400 and body["error_code"] == 101 and "Unknown OTA upload id" in body["message"], body)


async def mesh(s, state):
    check(isinstance(await s.client.get_thread_border_routers(), list))
    check(isinstance(await s.client.get_thread_diagnostics(), list))
    batch = await s.client.get_thread_diagnostics("fedcba9876543210")
    check(batch is None or batch["nodes"] is not None, batch)
    topology = await s.client.get_network_topology()
    check(any(n.node_id == state["node"] for n in topology.nodes), topology)
    if await want("topology", state["node"]):
        await s.event(EventType.NETWORK_TOPOLOGY_UPDATED)
    await fails(errors.MatterError, s.client.send_webrtc_provider_command(state["node"], 1, "ProvideOffer", {}))


async def testnodes(s, state):
    s.events.clear()
    node = {"node_id": 999, "date_commissioned": "2024-01-01T00:00:00.000000", "last_interview": "2024-01-01T12:00:00.000000", "interview_version": 6,
            "available": True, "is_bridge": False, "attributes": {"0/40/1": "Vendor From Dump", "0/40/3": "Product", "0/29/0": [{"0": 22, "1": 3}], "1/6/0": True},
            "attribute_subscriptions": []}
    await s.client.send_command(APICommand.IMPORT_TEST_NODE, dump=json.dumps({"data": {"node": node}}))
    first = (await s.event(EventType.NODE_ADDED)).node_id
    check(first >= TEST_NODES, first)
    several = {"1": node, "2": {**node, "available": False, "is_bridge": True}}
    await s.client.send_command(APICommand.IMPORT_TEST_NODE, dump=json.dumps({"data": {"server": {"nodes": several}}}))
    await s.event(EventType.NODE_ADDED)
    await s.event(EventType.NODE_ADDED)
    all_of_them = [n for n in s.client.get_nodes() if n.node_id >= TEST_NODES]
    check(len(all_of_them) == 3 and any(n.node_data.is_bridge for n in all_of_them), all_of_them)
    check((await s.client.read_attribute(first, "*/40/1"))["0/40/1"] == "Vendor From Dump")
    check((await s.client.read_attribute(first, "99/99/99"))["99/99/99"] is None)
    check((await s.client.write_attribute(first, "0/40/5", "x"))[0]["Status"] == 0)
    check(await s.client.send_device_command(first, 1, clusters.OnOff.Commands.Toggle()) is None)
    check("0.0.0.0" in await s.client.get_node_ip_addresses(first, prefer_cache=False))
    check(all((await s.client.ping_node(first)).values()))
    await s.client.interview_node(first)
    await s.event(EventType.NODE_UPDATED, lambda n: n.node_id == first)
    for n in all_of_them:
        await s.client.remove_node(n.node_id)
        await s.event(EventType.NODE_REMOVED, lambda gone, n=n: gone == n.node_id)


async def again(s, state):
    """Another client finds the same, and what the first does reaches it."""
    async with Session(s.url, s.tls) as other:
        check(other.client.server_info.compressed_fabric_id == state["ids"]["compressed"])
        check([n.node_id for n in other.client.get_nodes()] == state["ids"]["nodes"], other.client.get_nodes())
        await s.client.send_device_command(state["node"], 1, clusters.OnOff.Commands.On())
        await other.event(EventType.ATTRIBUTE_UPDATED, lambda v: v is True)


async def removal(s, state):
    s.events.clear()
    await s.client.remove_node(state["node"])
    check(await s.event(EventType.NODE_REMOVED) == state["node"])
    await fails(errors.NodeNotExists, s.client.send_command(APICommand.GET_NODE, node_id=state["node"]))
    check(s.client.get_nodes() == [], s.client.get_nodes())


async def shutdown(s, state):
    if await want("shutdown", 0):
        await s.event(EventType.SERVER_SHUTDOWN)
        await asyncio.wait_for(s.listening, PATIENCE)


STEPS = (greeting, credentials, label, mistakes, pairing, about, reading, writing, commands, looking, windows, access, happenings,
         updates, mesh, testnodes, again, removal, shutdown)


async def main(url, code="34970112332", patient="patient"):
    state = {"code": code, "patient": patient == "patient"}
    tls = None
    if url == "-":
        url, fingerprint, address = (sys.stdin.readline().strip() for _ in range(3))
        tls = trust(address, fingerprint)
    async with Session(url, tls) as s:
        for step in STEPS:
            began = time.monotonic()
            await step(s, state)
            say(step=step.__name__, ms=round((time.monotonic() - began) * 1000))
    say(ids=state["ids"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
