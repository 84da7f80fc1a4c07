"""What the checks of tiles find: issues with the severity of their rule, bounded in number, and counts of all."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from layers.issue import Issue
from tiles.verify.rules import RULES

KEPT_A_RULE = 50
"""Issues of one rule that are listed; the rest are counted."""
LONGEST_MESSAGE = 400

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What was read and what is wrong with it.

    Attributes
    ----------
    target : as it was given
    checked : number of files read, by kind (`tileset`, `subtree`, `glTF`, `terrain`, `mvt`, ...)
    counts : number of findings by code, also of those that are not listed
    issues : at most `KEPT_A_RULE` of each code
    is_complete : False where a limit ended the walk before everything was read
    """

    target: str
    checked: dict[str, int]
    counts: dict[str, int]
    issues: tuple[Issue, ...]
    is_complete: bool

    @property
    def is_clean(self) -> bool:
        """Nothing but remarks of severity `info`."""
        return all(RULES[code].severity == "info" for code in self.counts)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "target": self.target,
            "clean": self.is_clean,
            "complete": self.is_complete,
            "checked": self.checked,
            "counts": self.counts,
            "issues": [issue.to_dict() for issue in self.issues],
        }


@dataclass
class Findings:
    """Collects while the tiles are walked."""

    progress: Progress | None = None
    checked: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    issues: list[Issue] = field(default_factory=list)
    is_complete: bool = True

    def add(self, code: str, where: str, message: str) -> None:
        """One finding of a rule; KeyError where the rule is not in `RULES`."""
        rule = RULES[code]
        self.counts[code] += 1
        if self.counts[code] <= KEPT_A_RULE:
            self.issues.append(Issue(code, where, message[:LONGEST_MESSAGE], rule.hint, rule.severity))

    def read(self, kind: str, where: str) -> None:
        """One more file of a kind."""
        self.checked[kind] += 1
        if self.progress is not None:
            self.progress(where)

    def cut(self, where: str, message: str) -> None:
        """A limit ended the walk."""
        self.is_complete = False
        self.add("LIMIT_REACHED", where, message)

    def report(self, target: str) -> Report:
        """Everything so far."""
        return Report(target, dict(self.checked), dict(self.counts), tuple(self.issues), self.is_complete)
