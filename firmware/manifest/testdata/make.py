"""Makes a repository with python-tuf's metadata API: make.py FOLDER hashes|plain

Vendor FFF1 has a release of product 8000, signed by a role of its own. The
root was rotated once; its keys are of all three kinds.
"""

import hashlib
import json
import os
import sys
from datetime import datetime, timedelta, timezone

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

folder, mode = sys.argv[1:]
expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=7)
os.makedirs(folder + "/metadata")
os.makedirs(folder + "/targets/FFF1")


def target(name, data):
    file = TargetFile.from_data("FFF1/" + name, data, ["sha256"])
    with open(f"{folder}/targets/FFF1/{file.hashes['sha256']}.{name}", "wb") as f:
        f.write(data)
    return file


def write(name, metadata, *signers):
    for signer in signers:
        metadata.sign(signer, append=True)
    data = metadata.to_bytes()
    with open(f"{folder}/metadata/{name}.json", "wb") as f:
        f.write(data)
    if mode == "plain":
        return MetaFile(metadata.signed.version)
    return MetaFile.from_data(metadata.signed.version, data, ["sha256"])


first, second, third = CryptoSigner.generate_rsa(), CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ed25519()
online, vendor = CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ed25519()

root = Metadata(Root(expires=expires, consistent_snapshot=True))
for signer in (first, second):
    root.signed.add_key(signer.public_key, "root")
root.signed.roles["root"].threshold = 2
for role in ("targets", "snapshot", "timestamp"):
    root.signed.add_key(online.public_key, role)
write("1.root", root, first, second)
root.signed.version = 2
root.signed.revoke_key(first.public_key.keyid, "root")
root.signed.add_key(third.public_key, "root")
root.signatures.clear()
write("2.root", root, first, second, third)

image = b"an image by python" * 100
document = json.dumps({
    "version": 1, "vendor": 0xFFF1, "product": 0x8000, "minimum": 3,
    "releases": [{"version": 3, "name": "three", "sha256": hashlib.sha256(image).hexdigest(), "size": len(image)}],
}).encode()
delegated = Metadata(Targets(expires=expires))
for file in (target("8000.json", document), target(hashlib.sha256(image).hexdigest() + ".ota", image)):
    delegated.signed.targets[file.path] = file

targets = Metadata(Targets(expires=expires))
role = DelegatedRole("vendor-FFF1", [], 1, True, paths=["FFF1/*"])
targets.signed.delegations = Delegations({}, {role.name: role})
targets.signed.add_key(vendor.public_key, role.name)

snapshot = Metadata(Snapshot(expires=expires))
snapshot.signed.meta["targets.json"] = write("1.targets", targets, online)
snapshot.signed.meta["vendor-FFF1.json"] = write("1.vendor-FFF1", delegated, vendor)
timestamp = Metadata(Timestamp(expires=expires))
timestamp.signed.snapshot_meta = write("1.snapshot", snapshot, online)
write("timestamp", timestamp, online)
