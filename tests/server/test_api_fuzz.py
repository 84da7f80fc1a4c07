"""schemathesis over `/api` against the real application: no 500, no answer that breaks its schema or media type."""

import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from starlette.testclient import TestClient

import twin
from server.app import create_app
from server.settings import Settings
from tests.stores import copy_twin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns about its own parts while it is imported
    schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

pytestmark = pytest.mark.slow
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
EXAMPLES = 12
"""Requests an operation."""
KNOWN = {
    "featureId": ["b01", "b02", "b03", "b04", "p1", "p2", "w1", "m0", "楼/7 a&b", "nobody"],
    "styleId": ["default", "default-labelled", "city", "city-labelled", "no-style"],
    **{key: [0, 0, 0, 1, 9] for key in ("z", "x", "y", "row", "col")},
    "recordId": ["building", "buffer-query", "no-record"],
}
"""Values that exist, for placeholders about which the document says no more: what is made up would only meet 404."""


@pytest.fixture(scope="module")
def schema(folder, tmp_path_factory):
    """The API of a copy of the tiny city, which may be written to."""
    made = tmp_path_factory.mktemp("fuzz") / "twin"
    copy_twin(folder, made)
    with twin.open(made) as city, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = create_app(city, Settings(access_log=False, warm_up=False, edit="anyone"))
        with TestClient(app):  # jobs run in the application's life span
            made = schemathesis.openapi.from_asgi("/api", app)
            for name, values in KNOWN.items():
                made.raw_schema["components"]["parameters"][name]["schema"]["enum"] = values
            yield made


def tried(operation):
    """Complaints about one operation, and the statuses that it gave."""
    found, statuses = [], set()

    @seed(5)
    @hypothesis_settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
                         suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=operation.as_strategy())
    def run(case):
        answered = case.call()
        statuses.add(answered.status_code)
        try:
            case.validate_response(answered, checks=CHECKS)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 every complaint is kept, whatever its class
            said = " / ".join(str(each) for each in getattr(error, "exceptions", [error]))
            found.append(f"{case.as_curl_command()[:300]}: {answered.status_code} {said[:500]}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run()
    return found, statuses


def test_no_answer_breaks_what_the_document_promises(schema):
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) > 80
    tries = {each.label: tried(each) for each in operations}
    complaints = [text for found, _ in tries.values() for text in found]
    assert not complaints, "\n\n".join(complaints)
    statuses = {label: seen for label, (_, seen) in tries.items()}
    # most of what is made up gets somewhere
    n_met = sum(any(status < 300 for status in seen) for seen in statuses.values())
    assert n_met > 52, "\n".join(f"{label} {sorted(seen)}" for label, seen in statuses.items())
    assert 400 in set().union(*statuses.values())
