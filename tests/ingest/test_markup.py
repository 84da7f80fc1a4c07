"""Entity bombs are refused from the prolog alone, in every encoding that parsers accept."""

import pytest

from ingest import markup
from layers.errors import InvalidInput

BOMB = '<?xml version="1.0"?><!-- <kml> --><!DOCTYPE k [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><kml>&b;</kml>'


@pytest.mark.parametrize("encoding", ["ascii", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_entities_are_refused(tmp_path, encoding):
    path = tmp_path / "a.kml"
    path.write_bytes(BOMB.encode(encoding))
    with pytest.raises(InvalidInput, match="entities") as caught:
        markup.check(path)
    assert caught.value.code == "XML_ENTITIES"


def test_a_bomb_behind_a_long_comment_is_refused(tmp_path):
    path = tmp_path / "a.gml"
    for length in (markup.PROLOG_BYTES // 2, 3 * markup.PROLOG_BYTES):
        path.write_bytes(b"<!--" + b" " * length + b"-->" + BOMB[21:].encode())
        with pytest.raises(InvalidInput):
            markup.check(path)


@pytest.mark.parametrize(
    "head", ["", "<kml/>", '<!DOCTYPE kml SYSTEM "a.dtd"><kml/>', "\ufeff <?xml version='1.0'?>\n<!-- x --> <a/>"]
)
def test_plain_documents_pass(head):
    markup.check_bytes(head.encode(), "a.kml")
