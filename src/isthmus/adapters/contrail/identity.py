"""Who asks: a token of Keystone v3 in each request, got anew when one is not taken any more; or the same in each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from isthmus.adapters.contrail.http import Http
from isthmus.model.faults import Refused

TOKEN = "X-Auth-Token"


class Identity(Protocol):
    """What makes a request somebody's."""

    def headers(self) -> Mapping[str, str]:
        """For the next request.  Raises Unreachable or Refused if nobody can be asked who we are."""
        ...

    def doubted(self, fields: Mapping[str, str]) -> bool:
        """A request with these was nobody's; whether it is worth asking again."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same each time: nobody, or a user and a password."""

    fields: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> Mapping[str, str]:
        """Those given."""
        return self.fields

    def doubted(self, fields: Mapping[str, str]) -> bool:
        """They will not be taken the next time, either."""
        return False


NOBODY = Fixed()


@dataclass(frozen=True, slots=True)
class User:
    """A user of Keystone's, with the project in which he has his role.  The password is asked for each time."""

    name: str
    domain: str
    project: str
    project_domain: str
    password: Callable[[], str]

    def asking(self) -> dict[str, Any]:
        """The body of `POST /v3/auth/tokens`."""
        user = {"name": self.name, "domain": {"name": self.domain}, "password": self.password()}
        identity = {"methods": ["password"], "password": {"user": user}}
        project = {"name": self.project, "domain": {"name": self.project_domain}}
        return {"auth": {"identity": identity, "scope": {"project": project}}}


class Token:
    """Kept until a request with it is not taken: when it ends is Keystone's business, and by Keystone's clock."""

    def __init__(self, http: Http, user: User) -> None:
        self._http, self._user = http, user
        self._lock = threading.Lock()
        self._token = ""

    def headers(self) -> Mapping[str, str]:
        """With a token."""
        with self._lock:
            self._token = self._token or self._asked()
            return {TOKEN: self._token}

    def doubted(self, fields: Mapping[str, str]) -> bool:
        """Another token may do; threads that were refused with the same one get the same next one."""
        with self._lock:
            if fields.get(TOKEN) == self._token:
                self._token = ""
        return True

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _asked(self) -> str:
        path = "/auth/tokens"
        answer = self._http.request("POST", path, self._user.asking())
        if answer.status == 401:
            raise Refused(
                f"{self._http.place} at {self._http.address} does not know user {self._user.name} by this password, "
                "domain and project: correct them"
            )
        token = answer.headers.get("X-Subject-Token")
        if answer.status != 201 or not token:
            raise self._http.stranger("POST", path, answer)
        return token
