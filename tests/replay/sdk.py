"""The SDK that the workflows of this folder are written against.

Temporal's and ours have the same names, so one source serves both: `catalog.load(feature, sdk)` loads a feature's
`workflow.py` with this module standing for `temporalio` or for `perdure`.
"""

import os
from importlib import import_module

NAME = os.environ.get("REPLAY_SDK", "perdure")

activity = import_module(f"{NAME}.activity")
client = import_module(f"{NAME}.client")
common = import_module(f"{NAME}.common")
exceptions = import_module(f"{NAME}.exceptions")
nexus = import_module(f"{NAME}.nexus")
service = import_module(f"{NAME}.service")
workflow = import_module(f"{NAME}.workflow")
