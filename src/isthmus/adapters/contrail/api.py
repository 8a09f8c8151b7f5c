"""A Contrail api-server's REST: the few calls that are needed, and what its answers mean (OpenSDN fbb63bcd, measured).

Law: a list is whole or it is a fault, and nothing is asked twice by itself.  A 500 is what the server also says to a
client's error, so it is Refused with its words: the next round reads before it asks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import quote

from isthmus.adapters.contrail.http import Answer, Http, Stream
from isthmus.adapters.contrail.identity import NOBODY, Identity
from isthmus.model.faults import Refused, Retry, Unreachable

Fields: TypeAlias = dict[str, Any]
"""An object as the server has it: its properties by name, references as lists of ``to``, ``uuid`` and ``attr``."""

SHOWN = 300  # characters of the server's own words


class Gone(Retry):
    """There is no such object (any more)."""


class Conflict(Retry):
    """It is there already, or something refers to it."""


class ApiServer:
    """Raises Unreachable, MaybeDone (see http.py) or Refused, each with the server's words."""

    def __init__(self, http: Http, identity: Identity = NOBODY) -> None:
        self._http, self._identity = http, identity

    def close(self) -> None:
        """Hang up."""
        self._http.close()
        self._identity.close()

    def listed(
        self, kind: str, fields: Sequence[str], parents: Sequence[str] = (), *, among: Sequence[str] = ()
    ) -> list[Fields]:
        """All objects of a kind (``virtual-network``), below these parents (uuids), `among` these, if any are given.

        `fields` are those wanted beside ``uuid`` and ``fq_name``.  Their names go as text with commas: a list is a 500.
        """
        wanted = {"type": kind, "fields": ",".join(fields), "exclude_hrefs": True}
        if parents:
            wanted["parent_id"] = ",".join(parents)
        if among:
            wanted["obj_uuids"] = ",".join(among)
        path = "/list-bulk-collection"
        answer = self._asked("POST", path, wanted)
        found = answer.said.get(f"{kind}s") if isinstance(answer.said, dict) else None
        if not isinstance(found, list) or not all(is_whole(item) for item in found):
            raise self._http.stranger("POST", path, answer)
        return found

    def read(self, kind: str, uuid: str) -> Fields:
        """One object, references and all.  Raises Gone."""
        return self._object("GET", kind, uuid)

    def create(self, kind: str, fields: Fields) -> Fields:
        """Make an object; its uuid and name come back.  Raises Conflict if one of them is taken."""
        answer = self._asked("POST", f"/{kind}s", {kind: fields})
        return self._inside(kind, "POST", f"/{kind}s", answer)

    def update(self, kind: str, uuid: str, fields: Fields) -> None:
        """Set some properties, each whole.  Raises Gone."""
        self._asked("PUT", f"/{kind}/{quote(uuid)}", {kind: fields}, may_be_gone=True)

    def delete(self, kind: str, uuid: str) -> None:
        """Remove an object; one that is gone is gone.  Raises Conflict while something refers to it."""
        try:
            self._asked("DELETE", f"/{kind}/{quote(uuid)}", may_be_gone=True)
        except Gone:
            return

    def note(self, uuid: str, notes: Mapping[str, str | None]) -> None:
        """Set some of an object's annotations, and take those off that are None: others' stay.  Raises Gone."""
        updates = [_update(key, value) for key, value in notes.items()]
        self._asked("POST", "/prop-collection-update", {"uuid": uuid, "updates": updates}, may_be_gone=True)

    def id_of(self, kind: str, fq_name: Sequence[str]) -> str:
        """The uuid of what has this name.  Raises Gone."""
        path, asked = "/fqname-to-id", {"type": kind, "fq_name": list(fq_name)}
        answer = self._asked("POST", path, asked, may_be_gone=True)
        found = answer.said.get("uuid") if isinstance(answer.said, dict) else None
        if not isinstance(found, str):
            raise self._http.stranger("POST", path, answer)
        return found

    def link(self, kind: str, uuid: str, to_kind: str, to_uuid: str) -> None:
        """Let an object refer to another, too; once, however often it is said.  Raises Gone."""
        asked = {"operation": "ADD", "type": kind, "uuid": uuid, "ref-type": to_kind, "ref-uuid": to_uuid}
        self._asked("POST", "/ref-update", asked, may_be_gone=True)

    def unlink(self, kind: str, uuid: str, to_kind: str, to_uuid: str) -> None:
        """Take one reference off an object.  Raises Gone."""
        asked = {"operation": "DELETE", "type": kind, "uuid": uuid, "ref-type": to_kind, "ref-uuid": to_uuid}
        self._asked("POST", "/ref-update", asked, may_be_gone=True)

    def watch(self, kinds: Mapping[str, Sequence[str]], silence: float) -> Stream:
        """All objects of these kinds, with these fields, and then every change of one: see watch.py.

        `silence` is how many seconds may pass without a byte.  Raises Gone if the server is too old to tell.
        """
        # With dashes a type would be given whole, and no change of it ever.
        names = {kind.replace("-", "_"): fields for kind, fields in kinds.items()}
        fields = "".join(f"&{name}_fields={','.join(wanted)}" for name, wanted in names.items())
        path = f"/watch?resource_type={','.join(names)}{fields}"
        who = self._identity.headers()
        stream = self._http.stream(path, silence=silence, fields=who)
        if stream.status == 401 and self._identity.doubted(who):
            stream.close()
            stream = self._http.stream(path, silence=silence, fields=self._identity.headers())
        if stream.status == 200:
            return stream
        answer = stream.rest()
        raise self._http.stranger("GET", "/watch", self._judged("GET", "/watch", answer, may_be_gone=True))

    def _object(self, method: str, kind: str, uuid: str) -> Fields:
        path = f"/{kind}/{quote(uuid)}"
        return self._inside(kind, method, path, self._asked(method, path, may_be_gone=True))

    def _inside(self, kind: str, method: str, path: str, answer: Answer) -> Fields:
        found = answer.said.get(kind) if isinstance(answer.said, dict) else None
        if not isinstance(found, dict) or "uuid" not in found:
            raise self._http.stranger(method, path, answer)
        return found

    def _asked(self, method: str, path: str, body: Any = None, *, may_be_gone: bool = False) -> Answer:
        fields = self._identity.headers()
        answer = self._http.request(method, path, body, fields)
        if answer.status == 401 and self._identity.doubted(fields):  # so nothing of it was done
            answer = self._http.request(method, path, body, self._identity.headers())
        return self._judged(method, path, answer, may_be_gone=may_be_gone)

    def _judged(self, method: str, path: str, answer: Answer, *, may_be_gone: bool) -> Answer:
        where = f"{self._http.place} at {self._http.address}: {method} {path}"
        match answer.status:
            case 200:
                return answer
            case 404 if may_be_gone:
                raise Gone(f"{where}: there is no such object")
            case 409:
                raise Conflict(f"{where}: {_words(answer)}")
            case 401 | 403:
                raise Refused(f"{where}: not allowed ({_words(answer)}): give it a user whose role may do this")
            case 400 | 412 | 500:
                raise Refused(f"{where}: {_words(answer)}")
            case 502 | 503 | 504:
                raise Unreachable(f"{where}: HTTP {answer.status}: {_words(answer)}")
        raise self._http.stranger(method, path, answer)


def _update(key: str, value: str | None) -> Fields:
    if value is None:
        return {"field": "annotations", "operation": "delete", "position": key}
    return {"field": "annotations", "operation": "set", "value": {"key": key, "value": value}, "position": key}


def is_whole(item: object) -> bool:
    """Whether it is an object, as far as can be told."""
    return isinstance(item, dict) and isinstance(item.get("uuid"), str) and isinstance(item.get("fq_name"), list)


def _words(answer: Answer) -> str:
    """What the server said, in one line."""
    text = " ".join(answer.raw.decode(errors="replace").split())
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= SHOWN else clean[: SHOWN - 1] + "…"
