"""Files of the twin that are served as they are (adopted sets, point clouds): copied. Pure but for the copying."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tiles.export.stage import Failure, Item, Made, Task

MAKER = "files"
AT_ONCE = 64


class Files:
    """Makes copies: `tiles.export.stage.Maker`. An item's `about` is the path and the media type."""

    def make(self, task: Task) -> Iterator[Made | Failure]:
        """A copy of each file; one that is gone meanwhile is a failure."""
        for item in task.items:
            path, media_type = item.about
            if path.is_file():
                yield Made(item.address, item.tag or "", None, media_type, source=path)
            else:
                yield Failure(item.address, f"{path} is gone.")


def item(book: str, address: str, path: Path, media_type: str) -> Item:
    """A file to copy; its tag is the server's."""
    stat = path.stat()
    return Item(book, address, f"{stat.st_mtime_ns:x}-{stat.st_size:x}", (path, media_type))


def tasks(items: Sequence[Item], maker: str = MAKER, at_once: int = AT_ONCE) -> list[Task]:
    """Items in their order, some at a time."""
    return [Task(maker, tuple(items[start : start + at_once])) for start in range(0, len(items), at_once)]
