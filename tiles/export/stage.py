"""What an export is made of: stages of tasks of files. Plain data that goes to worker processes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Item:
    """A file that a worker makes.

    Attributes
    ----------
    book : the book that it stands in
    address : below the target
    tag : of what its bytes follow from; None where only the maker can say
    about : what the maker must know of this file beside its task
    known : tag of the file that is there, for the maker to say that it is current
    """

    book: str
    address: str
    tag: str | None = None
    about: Any = None
    known: str = ""


@dataclass(frozen=True)
class Task:
    """Files that are made together, as they read the same rows.

    Attributes
    ----------
    maker : which of the makers
    items : the files; those that are current already are taken out before the task is sent
    load : what they share
    n_features : features in them, for the rate that is shown
    """

    maker: str
    items: tuple[Item, ...]
    load: Any = None
    n_features: int = 0


@dataclass(frozen=True)
class Made:
    """The bytes of a file; or a file to copy; or neither, where the one that is there is current or none should be."""

    address: str
    tag: str
    data: bytes | None = None
    media_type: str = ""
    immutable: bool = False
    source: Path | None = None
    has_none: bool = False


@dataclass(frozen=True)
class Failure:
    """A file that could not be made, and why."""

    address: str
    reason: str
    trace: str = ""


class Maker(Protocol):
    """Makes files in a worker process; it has opened the city for itself."""

    def make(self, task: Task) -> Iterator[Made | Failure]:
        """Each item's file, in any order."""
        ...


MakerFactory = Callable[[], Maker]
"""Called once in each worker, when the first task for it comes; must be picklable."""


@dataclass
class Stage:
    """Files that belong together: contents first, then the documents that refer to them, then what is gone is removed.

    Attributes
    ----------
    title : for progress and messages
    books : all books that the stage writes, also those that end up empty
    tasks : contents, neighbours in one task
    documents : files that refer to contents; they are made one by one by the process that runs the export
    moved : says after the work what has changed underneath meanwhile, None for nothing
    failures : what is known already not to come
    """

    title: str
    books: Sequence[str]
    tasks: Iterable[Task] = ()
    documents: Iterable["Document"] = ()
    moved: Callable[[], str | None] = field(default=lambda: None)
    failures: Sequence[Failure] = ()


@dataclass(frozen=True)
class Document:
    """A file that refers to others; `make` is given the tag of the file that is there."""

    book: str
    address: str
    make: Callable[[str], Made]
    tag: str | None = None
