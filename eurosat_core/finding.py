"""What was found: a kind of outcome and its figures. `words.say` turns it into a sentence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """An outcome as data.

    Args:
        name: `topic.kind` or `topic.kind.variant`: where its sentence stands in `assets/words/<topic>.toml`.
        figures: What the sentence shows. A figure may be a finding or a list of findings.
        then: Findings that are told after it, in the same paragraph.
    """

    name: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    then: tuple["Finding", ...] = ()

    @property
    def kind(self) -> str:
        """The outcome, without its topic and variant."""
        return self.name.split(".")[1]

    @property
    def variant(self) -> str:
        """Which of an outcome's sentences it is; empty where there is only one."""
        return self.name.partition(f".{self.kind}.")[2]


def distinct(findings: Iterable[Finding | None]) -> list[Finding]:
    """Each once, in their order."""
    found: list[Finding] = []
    for each in findings:
        if each is not None and each not in found:
            found.append(each)
    return found
