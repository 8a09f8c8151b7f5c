"""isthmus as a process whose calls are counted: `python -m lab.bench.metered run --config CONFIG`.

The command line of isthmus, whole.  What it asks of vCenter, of leaves and of Neutron, and what Neutron asks of it, is
counted on the way and told in `calls.json` beside CONFIG, ten times a second.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isthmus.adapters.leaf.hwvtep import database
from isthmus.adapters.neutron.bus import Bus
from isthmus.adapters.neutron.desk import Desk
from isthmus.app import cli
from lab.bench.meter import Meter

EVERY = 0.1
CALLS = "calls.json"


def main() -> int:
    meter, counts = Meter(), Counter[str]()
    meter.install()
    _count(Bus, "call", counts, lambda bus, topic, method, **_: f"neutron {method}")
    _count(Bus, "cast", counts, lambda bus, topic, method, **_: f"neutron {method}")
    _count(Desk, "port_group", counts, lambda *_: "neutron port_group")
    _count(database._Link, "run", counts, lambda link, command: f"leaf {type(command).__name__.strip('_').lower()}")
    told = Path(sys.argv[sys.argv.index("--config") + 1]).with_name(CALLS)
    threading.Thread(target=_tell, args=(meter, counts, told), daemon=True).start()
    return cli.main()


def _count(owner: type, name: str, counts: Counter[str], what: Callable[..., str]) -> None:
    plain = getattr(owner, name)

    @functools.wraps(plain)
    def counted(*arguments: Any, **named: Any) -> Any:
        counts[what(*arguments, **named)] += 1
        return plain(*arguments, **named)

    setattr(owner, name, counted)


def _tell(meter: Meter, counts: Counter[str], told: Path) -> None:
    while True:
        time.sleep(EVERY)
        calls = {f"vcenter {name}": count for name, count in dict(meter.calls).items()} | dict(counts)
        fresh = told.with_suffix(".new")
        fresh.write_text(json.dumps(calls))
        os.replace(fresh, told)


if __name__ == "__main__":
    sys.exit(main())
