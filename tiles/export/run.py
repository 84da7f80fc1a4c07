"""Runs an export: makes and writes what is not current, stage by stage; a killed run is gone on with by the next."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from layers.errors import CityTwinError
from tiles.export import book as books
from tiles.export.address import checked
from tiles.export.book import Book, Entry
from tiles.export.stage import Document, Failure, Item, MakerFactory, Stage, Task
from tiles.export.target import Place, Target
from tiles.export.workers import Done, Inline, Processes, Workers, write

NOTED_EVERY_S = 2.0
"""At most so much work is done again after a kill."""


class Progress(Protocol):
    """Who is told how it goes."""

    def stage(self, title: str, n_files: int) -> None:
        """A stage begins; so many files are not current."""
        ...

    def advance(self, n_files: int, n_features: int, n_bytes: int) -> None:
        """Files are there."""
        ...


class Silent:
    """Tells nobody."""

    def stage(self, title: str, n_files: int) -> None:
        """Nothing."""

    def advance(self, n_files: int, n_features: int, n_bytes: int) -> None:
        """Nothing."""


@dataclass
class Summary:
    """What an export did.

    Attributes
    ----------
    n_files : files that are there and current
    n_written, n_removed, n_bytes : of this run
    n_features : of the tiles that were made, each tile once
    failures : files that could not be made
    moved : layers that were written to meanwhile, as sentences
    seconds : it took
    """

    n_files: int = 0
    n_written: int = 0
    n_removed: int = 0
    n_bytes: int = 0
    n_features: int = 0
    failures: list[Failure] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 all is there; 1 something is not, or is not of one moment; 2 nothing is."""
        if self.n_files == 0:
            return 2
        return int(bool(self.failures or self.moved))


def export(
    place: Place,
    stages: Callable[[Sequence[str]], Iterator[Stage]],
    factories: Mapping[str, MakerFactory],
    *,
    n_workers: int,
    progress: Progress | None = None,
    target: Target | None = None,
    stale: Callable[[str, set[str]], bool] = lambda _name, _done: False,
) -> Summary:
    """Bring a target up to date.

    Parameters
    ----------
    place : the target; worker processes open it for themselves
    stages : is given the names of the books that are there, and gives the stages one after the other
    factories : the makers, by the names that tasks give; picklable
    n_workers : processes; 0 does everything in this one, as does a target that only this process sees
    target : the opened target, if it is open already
    stale : says of a book that no stage had whether its files must go; is given the books that stages had

    Raises
    ------
    TargetError : the target cannot be written; what has been done stays done.
    """
    began = time.monotonic()
    opened = place.open() if target is None else target
    opened.begin()
    n = n_workers if place.is_shared and target is None else 0
    workers: Workers = Processes(place, factories, n) if n else Inline(opened, factories)
    summary = Summary()
    packing = "" if place.packed is None else place.packed.packing
    try:
        seen: set[str] = set()
        for stage in stages(list(books.names(opened))):
            _Run(opened, workers, progress or Silent(), summary, packing).stage(stage)
            seen |= set(stage.books)
        for name in books.names(opened):
            if name not in seen and stale(name, seen):
                _drop(opened, name, summary)
    finally:
        workers.close()
        opened.end()
    summary.seconds = time.monotonic() - began
    return summary


def _drop(target: Target, name: str, summary: Summary) -> None:
    """Remove all files of a book, and the book."""
    book = books.load(target, name)
    target.remove(map(checked, book.entries))
    summary.n_removed += len(book.entries)
    book.delete(target)


class _Run:
    """One stage."""

    def __init__(self, target: Target, workers: Workers, progress: Progress, summary: Summary, packing: str) -> None:
        self.target, self.workers, self.progress, self.summary = target, workers, progress, summary
        self.packing = packing
        self.books: dict[str, Book] = {}
        self.book_of: dict[str, str] = {}
        self.noted: dict[str, dict[str, Entry]] = {}
        self.noted_at = time.monotonic()
        self.emptied: list[str] = []

    def stage(self, stage: Stage) -> None:
        """All of it, in the order that leaves no reference to a file that is not there."""
        self.summary.failures += stage.failures
        self.books = {name: self._loaded(name) for name in stage.books}
        present = self._present()
        tasks, documents = self._admitted(stage)
        wanted = set(self.book_of)
        todo = [(task, self._stale(task, present)) for task in tasks]
        jobs = [(replace(task, items=items), self._known(items, present)) for task, items in todo if items]
        self._plan(wanted)
        self.progress.stage(stage.title, sum(len(task.items) for task, _ in jobs))
        for task, done in self.workers.run(iter(jobs)):
            self._take(done, task)
        self._write_documents(documents, present)
        self._finish(wanted)
        moved = stage.moved()
        if moved is not None:
            self.summary.moved.append(moved)

    def _loaded(self, name: str) -> Book:
        book = books.load(self.target, name)
        if book.packing != self.packing and book.entries:
            self.target.remove(map(checked, book.entries))  # packed copies of another kind would go stale
            book = Book(name)
        book.packing = self.packing
        return book

    def _present(self) -> dict[str, Entry]:
        """Files that are there as they were written."""
        found: dict[str, Entry] = {}
        for book in self.books.values():
            sizes = self.target.sizes(list(book.entries))
            found |= {
                a: each
                for a, each in book.entries.items()
                if each.tag and (sizes.get(a) == each.size or not (each.is_file or a in sizes))
            }
        return found

    def _admitted(self, stage: Stage) -> tuple[list[Task], list[Document]]:
        """Tasks and documents whose addresses can be files; the others are failures."""
        tasks = [replace(task, items=tuple(filter(self._admit, task.items))) for task in stage.tasks]
        return tasks, [each for each in stage.documents if self._admit(each)]

    def _admit(self, item: Item | Document) -> bool:
        try:
            self.book_of[checked(item.address)] = item.book
        except CityTwinError as error:
            self.summary.failures.append(Failure(item.address, str(error)))
            return False
        return True

    def _stale(self, task: Task, present: dict[str, Entry]) -> tuple[Item, ...]:
        """Items of a task that are not known to be current."""
        found = []
        for item in task.items:
            there = present.get(item.address)
            if there is None or item.tag is None or item.tag != there.tag:
                found.append(item if there is None else replace(item, known=there.tag))
        return tuple(found)

    def _known(self, items: Sequence[Item], present: dict[str, Entry]) -> dict[str, Entry]:
        return {item.address: present[item.address] for item in items if item.address in present}

    def _plan(self, wanted: set[str]) -> None:
        """Write down every name that may come to be, before it is."""
        for name, book in self.books.items():
            new = [a for a in wanted if self.book_of[a] == name and a not in book.entries]
            if new:
                book.entries |= dict.fromkeys(new, Entry(""))
                book.save(self.target, is_whole=False)

    def _take(self, done: Done, task: Task | None = None) -> None:
        """Note what became of a task."""
        for address, each in done.entries.items():
            if self.books[self.book_of[address]].entries.get(address) != each:
                self.noted.setdefault(self.book_of[address], {})[address] = each
            if not each.is_file:
                self.emptied.append(address)
        for failure in done.failures:
            if failure.address in self.book_of:
                self.noted.setdefault(self.book_of[failure.address], {})[failure.address] = Entry("")
        self.summary.failures += done.failures
        self.summary.n_written += done.n_written
        self.summary.n_bytes += done.n_bytes
        n_features = 0 if task is None or done.failures else task.n_features
        self.summary.n_features += n_features
        self.progress.advance(len(task.items) if task else 0, n_features, done.n_bytes)
        if done.broken is not None:
            self._note()
            raise done.broken
        if time.monotonic() - self.noted_at > NOTED_EVERY_S:
            self._note()

    def _note(self) -> None:
        for name, entries in self.noted.items():
            self.books[name].add(self.target, entries)
        self.noted = {}
        self.noted_at = time.monotonic()

    def _write_documents(self, documents: Sequence[Document], present: dict[str, Entry]) -> None:
        for each in documents:
            there = present.get(each.address)
            if there is not None and each.tag is not None and each.tag == there.tag:
                continue
            done = Done()
            try:
                write(each.make("" if there is None else there.tag), self.target, there, done)
            except CityTwinError as error:
                from tiles.export.target import TargetError

                if isinstance(error, TargetError):
                    raise
                done.failures.append(Failure(each.address, str(error)))
            self._take(done)
        self.target.flush()

    def _finish(self, wanted: set[str]) -> None:
        """Remove what no longer belongs there, and close the books."""
        for name, entries in self.noted.items():
            self.books[name].entries |= entries
            self.books[name].is_whole = False
        self.noted = {}
        self.target.remove(self.target.sizes(self.emptied))
        for book in self.books.values():
            gone = [address for address in book.entries if address not in wanted]
            if gone:
                self.target.remove(map(checked, gone))
                self.summary.n_removed += sum(book.entries[address].is_file for address in gone)
                for address in gone:
                    del book.entries[address]
            if gone or not book.is_whole:
                if book.entries:
                    book.save(self.target, is_whole=True)
                else:
                    book.delete(self.target)
            self.summary.n_files += sum(1 for each in book.entries.values() if each.tag and each.is_file)
