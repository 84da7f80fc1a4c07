"""Files of other cities, written by foreign programs, built and read back."""

import sys

import pytest

from server.build import build


class Folder:
    """A folder of files and the twin made of it."""

    def __init__(self, root):
        self.files, self.twin = root / "files", root / "twin"
        self.files.mkdir()

    def toml(self, *lines):
        (self.files / "city.toml").write_text("\n".join(lines) + "\n", "utf8")

    def build(self):
        made = build(self.files, self.twin)
        for report in made.reports:  # shown where the test fails
            if report.status != "stored":
                sys.stdout.write(f"{report.to_dict()}\n")
        return made


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)
