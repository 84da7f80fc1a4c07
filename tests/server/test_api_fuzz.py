"""schemathesis over `/api` against the real application: no 500, no answer that breaks its schema or media type."""

import shutil
import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings

import twin
from server.app import create_app
from server.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns about its own parts while it is imported
    schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

pytestmark = pytest.mark.slow
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
EXAMPLES = 12
"""Requests an operation."""


@pytest.fixture(scope="module")
def schema(folder, tmp_path_factory):
    """The API of a copy of the tiny city, which may be written to."""
    made = tmp_path_factory.mktemp("fuzz") / "twin"
    shutil.copytree(folder, made)
    with twin.open(made) as city, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        app = create_app(city, Settings(access_log=False, warm_up=False))
        yield schemathesis.openapi.from_asgi("/api", app)


def tried(operation):
    """Complaints about one operation."""
    found = []

    @seed(5)
    @hypothesis_settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
                         suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=operation.as_strategy())
    def run(case):
        answered = case.call()
        try:
            case.validate_response(answered, checks=CHECKS)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 every complaint is kept, whatever its class
            said = " / ".join(str(each) for each in getattr(error, "exceptions", [error]))
            found.append(f"{case.as_curl_command()[:300]}: {answered.status_code} {said[:500]}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run()
    return found


def test_no_answer_breaks_what_the_document_promises(schema):
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) > 60
    complaints = [text for each in operations for text in tried(each)]
    assert not complaints, "\n\n".join(complaints)
