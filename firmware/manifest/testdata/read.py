"""Fetches targets with python-tuf's client: read.py URL ROOT CACHE TARGET..."""

import hashlib
import os
import sys

from tuf.ngclient import Updater

url, root, cache, *targets = sys.argv[1:]
os.makedirs(cache + "/targets")
with open(root, "rb") as f:
    updater = Updater(
        metadata_dir=cache,
        metadata_base_url=url + "/metadata/",
        target_dir=cache + "/targets",
        target_base_url=url + "/targets/",
        bootstrap=f.read(),
    )
updater.refresh()
for path in targets:
    info = updater.get_targetinfo(path)
    if info is None:
        print(path, "none")
        continue
    with open(updater.download_target(info), "rb") as f:
        print(path, hashlib.sha256(f.read()).hexdigest())
