"""`python -m lab.vcenter build` makes the binary; `run` starts a simulator to play with until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from lab.vcenter.process import Simulator, build


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.vcenter", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the simulator's binary if its sources have changed; prints its path")
    run = commands.add_parser("run", help="run a simulator until Ctrl-C")
    run.add_argument("--topology", type=Path, help="JSON file of what it holds")
    run.add_argument("--hosts", type=int, default=4, help="without --topology: this many hosts (4)")
    run.add_argument("--vms", type=int, default=8, help="without --topology: this many VMs (8)")
    run.add_argument("--listen", default="127.0.0.1:8989", help="address and port (127.0.0.1:8989)")
    run.add_argument(
        "--start-timeout", type=float, metavar="SECONDS", help="give up on the start after so long (default: by size)"
    )
    asked = parser.parse_args(arguments)
    try:
        path = build(lambda line: print(line, file=sys.stderr))
        if asked.command == "build":
            print(path)
            return 0
        return _run(asked)
    except RuntimeError as problem:
        print(f"lab.vcenter: {problem}", file=sys.stderr)
        return 1


def _run(asked: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    topology = json.loads(asked.topology.read_text()) if asked.topology else None
    limit = asked.start_timeout
    with Simulator(topology, hosts=asked.hosts, vms=asked.vms, listen=asked.listen, start_timeout=limit) as vcenter:
        print(f"export GOVC_URL={vcenter.url} GOVC_USERNAME={vcenter.user} GOVC_PASSWORD={vcenter.password}")
        print(f"export GOVC_TLS_CA_CERTS={vcenter.ca_file}")
        print("Ctrl-C stops it", file=sys.stderr)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print(file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
