"""Archives that a stranger sent: bombs, names that lead out, links, lies about sizes. The oracle is zipfile."""

import io
import stat
import struct
import zipfile

import pytest

from ingest import archive
from layers.errors import InvalidInput


def packed(path, files, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def refused(path, limits=archive.LIMITS):
    with pytest.raises(InvalidInput) as caught:
        archive.checked(path, limits)
    assert path.name in caught.value.problem
    assert caught.value.hint
    return caught.value.code


def test_what_is_packed_comes_out_byte_for_byte(tmp_path):
    files = {"doc.kml": b"<kml/>", "files/a.png": bytes(range(256)) * 9000, "空.txt": b""}
    path = packed(tmp_path / "a.kmz", files)
    with archive.opened(path) as held:
        assert held.names(".KML") == ["doc.kml"]
        assert {name: held.read(name, 10_000_000) for name in held.names()} == files
        made = held.extract(tmp_path / "out")
    assert {each.relative_to(tmp_path / "out").as_posix(): each.read_bytes() for each in made} == files


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "C:/a", "..\\a", "\\\\host\\a", "a\x01b", "."])
def test_names_that_lead_out_are_refused(tmp_path, name):
    assert refused(packed(tmp_path / "a.zip", {name: b"x"})) == "ARCHIVE_UNSAFE"


def test_links_and_devices_are_refused(tmp_path):
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        entry = zipfile.ZipInfo("a")
        entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.writestr(entry, "/etc/passwd")
        assert refused(tmp_path / "a.zip") == "ARCHIVE_UNSAFE"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a", "1")
        file.writestr("a", "2")
    assert refused(tmp_path / "a.zip") == "ARCHIVE_UNSAFE"


def test_a_bomb_is_refused_by_its_claims_and_a_liar_by_its_bytes(tmp_path):
    bomb = packed(tmp_path / "bomb.zip", {f"{i}": bytes(1_000_000) for i in range(3)})
    limits = archive.Limits(free_bytes=1_000_000)
    assert refused(bomb, limits) == "ARCHIVE_TOO_LARGE"
    assert refused(bomb, archive.Limits(total_bytes=2_999_999)) == "ARCHIVE_TOO_LARGE"
    assert len(archive.checked(bomb)) == 3  # 3 MB hurt nobody
    data = bytearray(packed(tmp_path / "one.zip", {"a": bytes(1_000_000)}).read_bytes())
    at = data.rfind(b"PK\1\2") + 24
    lie = bytes(data[:at]) + struct.pack("<I", 10) + bytes(data[at + 4 :])
    (tmp_path / "one.zip").write_bytes(lie)
    with archive.opened(tmp_path / "one.zip", limits) as held, pytest.raises(InvalidInput):
        held.read("a", 10_000_000)


def test_too_many_entries_are_refused_before_they_are_listed(tmp_path):
    path = packed(tmp_path / "a.zip", {f"{i}": b"" for i in range(101)})
    assert refused(path, archive.Limits(n_entries=100)) == "ARCHIVE_TOO_LARGE"
    assert len(archive.checked(path, archive.Limits(n_entries=101))) == 101


def test_a_file_longer_than_asked_for_is_refused(tmp_path):
    path = packed(tmp_path / "a.zip", {"a": bytes(100)})
    with archive.opened(path) as held, pytest.raises(InvalidInput, match="longer than 99 bytes"):
        held.read("a", 99)


def test_encrypted_entries_are_refused(tmp_path):
    data = bytearray(packed(tmp_path / "a.zip", {"a": b"x"}).read_bytes())
    data[data.rfind(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    assert refused(tmp_path / "a.zip") == "ARCHIVE_UNSAFE"


def test_every_cut_and_many_flips_give_a_refusal_or_the_files(tmp_path):
    whole = packed(tmp_path / "a.zip", {"a": b"hello" * 50, "b/c": b"x"}).read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        names = file.namelist()
    path, codes = tmp_path / "b.zip", set()
    for at in range(len(whole)):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            path.write_bytes(data)
            try:
                with archive.opened(path) as held:
                    total = sum(len(held.read(name, 1000)) for name in held.names())
                    assert len(held.names()) <= len(names)
                    assert total <= 251
            except InvalidInput as error:
                codes.add(error.code)
    assert codes <= {"ARCHIVE_BROKEN", "ARCHIVE_TOO_LARGE", "ARCHIVE_UNSAFE"}


def test_zip64_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file, file.open("a", "w", force_zip64=True) as stream:
        stream.write(b"x" * 10)
    assert [each.file_size for each in archive.checked(tmp_path / "a.zip")] == [10]


def test_what_is_no_archive_is_refused(tmp_path):
    for data in (b"", b"PK", b"x" * 100_000):
        (tmp_path / "a.zip").write_bytes(data)
        assert refused(tmp_path / "a.zip") == "ARCHIVE_BROKEN"
