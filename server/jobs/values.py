"""Outputs as bytes: what an analysis returns, encoded as declared, in memory or as files of a job."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from layers.errors import CityTwinError
from server.jobs.job import Output
from twin.analysis.outputs import File
from twin.analysis.process import JSON, Process

SUFFIXES = {JSON: ".json", "application/geo+json": ".geojson"}
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True)
class Value:
    """One output, ready to go out.

    Attributes
    ----------
    name, media_type : of the output
    content : its bytes, or the file that has them
    n_bytes : their number
    """

    name: str
    media_type: str
    content: bytes | Path
    n_bytes: int

    @property
    def is_json(self) -> bool:
        """Whether it can stand in a JSON document as it is."""
        return self.media_type == JSON or self.media_type.endswith("+json")

    def read(self) -> bytes:
        """The bytes, whole."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


def encoded(process: Process, result: Mapping[str, Any]) -> list[Value]:
    """Outputs of an analysis in the order they are declared, undeclared ones after them; JSON in memory."""
    names = [name for name in process.outputs if name in result]
    names += [name for name in result if name not in process.outputs]
    made = []
    for name in names:
        value = result[name]
        if isinstance(value, File):
            made.append(Value(name, value.media_type, value.path, value.path.stat().st_size))
        else:
            data = orjson.dumps(value, default=str, option=_OPTIONS)
            kind = process.outputs[name].media_type if name in process.outputs else JSON
            made.append(Value(name, kind, data, len(data)))
    return made


def kept(values: list[Value], folder: Path, most_bytes: int) -> list[Output]:
    """Write outputs into a folder, one file each."""
    total = sum(each.n_bytes for each in values)
    if total > most_bytes:
        raise CityTwinError(f"The results have {total} bytes; at most {most_bytes} are kept.", "Ask for less at once.")
    outputs = []
    for number, each in enumerate(values):
        if isinstance(each.content, bytes):
            name = f"{number}{SUFFIXES.get(each.media_type, '.bin')}"
            (folder / name).write_bytes(each.content)
        else:
            name = f"{number}{each.content.suffix}"
            if each.content.resolve().parent == folder.resolve():
                each.content.replace(folder / name)
            else:
                shutil.copyfile(each.content, folder / name)
        outputs.append(Output(each.name, name, each.media_type, each.n_bytes))
    return outputs


def stored(outputs: tuple[Output, ...], folder: Path) -> list[Value]:
    """Outputs of a job that is done."""
    return [Value(each.name, each.media_type, folder / each.file, each.n_bytes) for each in outputs]
