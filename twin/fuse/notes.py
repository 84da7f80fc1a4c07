"""Issues of many features, so that a report stays readable: the first ones singly, the rest as a number."""

from collections import Counter
from collections.abc import Iterable

from layers.issue import Issue, Severity

SINGLY = 50


class Notes:
    """Collects issues by code. Features are named one by one up to `SINGLY`, then counted."""

    def __init__(self) -> None:
        self._issues: list[Issue] = []
        self._seen: Counter[str] = Counter()
        self._last: dict[str, Issue] = {}

    def add(self, code: str, ids: Iterable[str], messages: Iterable[str], hint: str, severity: Severity) -> None:
        """One message for each id."""
        for where, message in zip(ids, messages, strict=True):
            self._seen[code] += 1
            self._last[code] = issue = Issue(code, where, message, hint, severity)
            if self._seen[code] <= SINGLY:
                self._issues.append(issue)

    def issues(self) -> list[Issue]:
        """All of them; what was only counted is one issue more for each code."""
        more = [
            Issue(code, self._last[code].where, f"{n - SINGLY} more features like this, the last is this one: "
                  f"{self._last[code].message}", self._last[code].hint, self._last[code].severity)
            for code, n in self._seen.items() if n > SINGLY
        ]  # fmt: skip
        return self._issues + more
