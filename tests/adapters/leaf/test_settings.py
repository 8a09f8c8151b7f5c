"""What can be said of a leaf in a configuration, and what cannot work."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from isthmus.adapters.leaf.hwvtep.settings import Place
from isthmus.adapters.tls import TlsFiles
from tests.adapters.leaf.world import SETTINGS

TLS = TlsFiles("key.pem", "certificate.pem", "ca.pem")


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("tcp:10.0.0.1:6640", Place("tcp", "10.0.0.1", 6640)),
        ("tcp:[2001:db8::1]:6640", Place("tcp", "2001:db8::1", 6640)),
        ("ssl:leaf1.example:6640", Place("ssl", "leaf1.example", 6640)),
        ("unix:/run/openvswitch/db.sock", Place("unix", "/run/openvswitch/db.sock")),
        ("ptcp:6640", Place("ptcp", "", 6640)),
        ("ptcp:6640:10.0.0.9", Place("ptcp", "10.0.0.9", 6640)),
        ("pssl:6641:[2001:db8::9]", Place("pssl", "2001:db8::9", 6641)),
    ],
)
def test_a_leaf_is_dialled_or_dials_in(target: str, place: Place) -> None:
    settings = replace(SETTINGS, target=target, tls=TLS)
    assert settings.place == place
    assert settings.place.waits == target.startswith("p")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"target": "leaf1"}, "target 'leaf1' is none of tcp:host:port"),
        ({"target": "tcp:leaf1"}, "is none of"),
        ({"target": "unix:db.sock"}, "is none of"),
        ({"target": "tcp:leaf1:70000"}, "port 70000 is not in 1..65535"),
        ({"target": "ptcp:0"}, "port 0 is not in"),
        ({"target": "ssl:leaf1:6640"}, "ssl:leaf1:6640 needs tls"),
        ({"target": "pssl:6640"}, "pssl:6640 needs tls"),
        ({"vtep": "leaf1"}, "vtep 'leaf1' is not an IPv4 address"),
        ({"ports": ()}, "ports is empty"),
        ({"ports": ("swp1", "")}, "ports is empty"),
        ({"ports": ("swp1", "swp1")}, "names a port twice"),
        ({"owner": ""}, "owner '' must be"),
        ({"owner": "a b"}, "owner 'a b' must be"),
        ({"owner": "x'; rm"}, "must be"),
    ],
)
def test_what_cannot_work_is_said_with_its_remedy(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        replace(SETTINGS, **wrong)  # type: ignore[arg-type]
