"""A large answer of Neutron's drivers as one text: a broker takes no message beyond its limit (RabbitMQ 4: 16 MiB).

Law: what was cut off or changed on its way is no answer, rather than a smaller one: a checksum is in it.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

_LEVEL = 1
"""Higher ones take 2 to 4 times as long, in Neutron's RPC worker, for a tenth less."""


def packed(answer: Any) -> str:
    """An answer of plain values."""
    return base64.b64encode(zlib.compress(json.dumps(answer).encode(), _LEVEL)).decode("ascii")


def unpacked(text: Any) -> Any:
    """The answer.  Raises ValueError for what `packed` did not make."""
    if not isinstance(text, str):
        raise ValueError("it is not packed")
    try:
        return json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    except (zlib.error, ValueError, RecursionError) as wrong:
        raise ValueError(f"it cannot be unpacked: {wrong}") from wrong
