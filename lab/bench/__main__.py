"""`python -m lab.bench [PART ...]`: measure, print the table, write build/bench.json."""

from __future__ import annotations

import argparse
import itertools

from lab.bench import appliances, bindings, core, decoder, dvports, events, flows, leaves, moves, vrouters
from lab.bench.figures import show

PARTS = {
    "appliances": appliances.figures,
    "bindings": bindings.figures,
    "core": core.figures,
    "decoder": decoder.figures,
    "dvports": dvports.figures,
    "events": events.figures,
    "flows": flows.figures,
    "leaves": leaves.figures,
    "moves": moves.figures,
    "vrouters": vrouters.figures,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m lab.bench", description=__doc__)
    parser.add_argument(
        "part",
        nargs="*",
        metavar="PART",
        choices=[[], *PARTS],
        help=f"{', '.join(PARTS)}; all of them if none is named",
    )
    asked = parser.parse_args().part or PARTS
    show(itertools.chain.from_iterable(PARTS[part]() for part in asked))
