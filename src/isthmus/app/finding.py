"""What `isthmus check` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is."""

    GOOD = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    place: str
    what: str
    remedy: str = ""

    @property
    def is_error(self) -> bool:
        """Something will not work."""
        return self.level is Level.ERROR

    def data(self) -> dict[str, str]:
        """As JSON can carry it."""
        return {"level": self.level.value, "place": self.place, "what": self.what, "remedy": self.remedy}
