"""A process that reads files one after the other, so that a test can measure its memory and end it when it hangs.

Run as a program it takes one JSON object a line (`path`, `hints`) and answers with one: what came of the file.
"""

import json
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class ReadServer:
    """Reads files in a process of its own; a file that takes longer than `limit_s` costs that process."""

    def __init__(self, limit_s=30.0):
        self.limit_s, self._process = limit_s, None

    def read(self, path, **hints):
        """{outcome: read | refused | crashed | hung | died, code, said, features, seconds, megabytes}."""
        process = self._process = self._process or subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        )  # fmt: skip
        start = time.monotonic()
        process.stdin.write(json.dumps({"path": str(path), "hints": hints}) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            answer = process.stdout.readline() if waiting.select(self.limit_s) else None
        if answer:
            return json.loads(answer) | {"seconds": time.monotonic() - start}
        self.close()
        return {"outcome": "died" if answer is not None else "hung", "said": f"exit {process.returncode}"}

    def close(self):
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def _answer(path, hints):
    import ingest
    from layers.errors import CityTwinError
    from layers.source import AssetLayer, Hints

    try:
        reading = ingest.read(path, Hints(root=path.parent, **hints))
        n_features, said = 0, [issue.code for issue in reading.issues]
        for layer in reading.layers:
            if isinstance(layer, AssetLayer):
                with tempfile.TemporaryDirectory() as folder:
                    said += [issue.code for issue in layer.write(Path(folder) / f"x{layer.suffix}")]
                n_features += 1
                continue
            n = sum(len(batch) for batch in layer.batches())
            if n + len(layer.rejects) != layer.n_read:
                raise AssertionError(f"{n} stored, {len(layer.rejects)} rejected, {layer.n_read} read")  # noqa: TRY301
            n_features += n
            said += [each.code for each in (*layer.issues, *layer.rejects)]
    except CityTwinError as error:
        return {"outcome": "refused", "code": error.code, "said": f"{error}"[:500], "hint": error.hint}
    except BaseException:  # noqa: BLE001 whatever it is, the test must see it
        return {"outcome": "crashed", "said": traceback.format_exc()[-3000:]}
    return {"outcome": "read", "code": "", "said": " ".join(said[:50]), "features": n_features}


def _serve():
    sys.path.insert(0, str(ROOT))
    answers, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not answer
    for line in sys.stdin:
        task = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here
        before = _peak_mb()
        found = _answer(Path(task["path"]), task["hints"])
        answers.write(json.dumps(found | {"megabytes": _peak_mb() - before, "whole_mb": _peak_mb()}) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
