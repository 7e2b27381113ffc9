"""Serve a folder as a hub: python -m tests.hub ROOT [--port N] [--cut-after-bytes N --cuts 2 …]

Every fault of tests/hub/faults.py is an option; PUT /-/faults sets them later, GET /-/asked tells what was asked.
"""

import argparse
import dataclasses
from pathlib import Path

from tests.hub import Faults, HubState, create_hub


def main() -> None:
    words = argparse.ArgumentParser(prog="python -m tests.hub", description="Serve a folder as a hub.")
    words.add_argument("root", type=Path, help="folder with <org>/<name>/<files>")
    words.add_argument("--bind", default="127.0.0.1")
    words.add_argument("--port", type=int, default=18446)
    for fault in dataclasses.fields(Faults):
        option = f"--{fault.name.replace('_', '-')}"
        if fault.type == "bool" or fault.type is bool:
            words.add_argument(option, action="store_true", help=fault.metadata["help"])
        else:
            kind = str if isinstance(fault.default, str) else int
            words.add_argument(option, type=kind, default=fault.default, help=fault.metadata["help"])
    given = vars(words.parse_args())
    root, bind, port = given.pop("root"), given.pop("bind"), given.pop("port")
    app = create_hub(HubState(root.resolve(), Faults(**given)))
    print(f"hub over {root} on http://{bind}:{port}", flush=True)
    app.run(bind, port, single_process=True)


if __name__ == "__main__":
    main()
