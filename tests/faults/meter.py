"""What must be nought over all trials.  Counted, and failed on at the end of each, so that the sums can be told."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass
class Meter:
    """The sums: of one trial, or of all."""

    trials: int = 0
    writes: int = 0
    frames_heard_by_strangers: int = 0
    ports_opened_before_their_nve_was_ready: int = 0
    tags_of_two_subjects: int = 0
    tags_leaked: int = 0
    deletes_after_a_failed_read: int = 0
    stories: list[str] = field(default_factory=list)
    """What happened, for each count that is not nought."""

    def add(self, other: Meter) -> None:
        """Take the sums of another in."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def wrong(self, what: str, story: str) -> None:
        """Count something that must not be."""
        setattr(self, what, getattr(self, what) + 1)
        self.stories.append(f"{what.replace('_', ' ')}: {story}")

    def said(self) -> str:
        """All sums in one line."""
        counts = [each.name for each in fields(self) if each.name != "stories"]
        return ", ".join(f"{name.replace('_', ' ')} {getattr(self, name)}" for name in counts)


TOTAL = Meter()
"""Of the whole test run."""
