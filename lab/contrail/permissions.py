"""The two permission fields of every object: what a client may set of them, and when."""

from __future__ import annotations

import uuid

from lab.contrail.schema import Json

AT_CREATE = ("enable", "description", "user_visible", "creator")
LATER = ("enable", "description")
"""The creator is fixed at create; another one is ignored, not refused."""


def of_new(given: Json | None, object_id: str, now: str) -> Json:
    half = (1 << 64) - 1
    number = uuid.UUID(object_id).int
    made = {
        "enable": True,
        "created": now,
        "last_modified": now,
        "creator": None,
        "description": None,
        "user_visible": True,
        "permissions": {
            "owner": "cloud-admin",
            "owner_access": 7,
            "group": "cloud-admin-group",
            "group_access": 7,
            "other_access": 7,
        },
        "uuid": {"uuid_mslong": number >> 64, "uuid_lslong": number & half},
    }
    return made | {name: given[name] for name in AT_CREATE if given and name in given}


def of_changed(kept: Json, given: Json | None, now: str) -> Json:
    return kept | {name: given[name] for name in LATER if given and name in given} | {"last_modified": now}


def shares(given: Json | None, owner: str) -> Json:
    made = {"owner": owner, "owner_access": 7, "global_access": 0, "share": []}
    return made | {name: value for name, value in (given or {}).items() if name in made}
