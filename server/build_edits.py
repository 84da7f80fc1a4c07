"""What a source says against edits by hand: the edit stays, and the report tells."""

from layers.issue import Issue
from twin.fuse.notes import Notes
from twin.store.interface import EditConflict, WriteBatch


def conflicts(batch: WriteBatch, source: str) -> list[Issue]:
    """Issues for features of a source that were edited and that it now gives otherwise, or not at all any more.

    Call it after the source was read, or before it is removed.
    """
    notes = Notes()
    for each in batch.edit_conflicts(source):
        notes.add(*_told(each), "warning")
    return notes.issues()


def _told(conflict: EditConflict) -> tuple[str, list[str], list[str], str]:
    where, day = f"{conflict.layer}/{conflict.id}", conflict.moment[:10]
    if conflict.how == "gone":
        words = f"It was edited by hand ({day}), and its source no longer has it: it is kept as it was edited."
        return "EDIT_WITHOUT_SOURCE", [where], [words], "Delete it by hand if it is truly gone."
    done = "deleted" if conflict.what == "deleted" else "edited"
    words = f"It was {done} by hand ({day}), and what its source gives is no longer what it was: the edit is kept."
    return "EDIT_KEPT", [where], [words], "To take what the source says, revert the edit and build again."
