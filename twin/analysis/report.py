"""The report of supervision as a process: HTML and PDF, Chinese or English, of a site, a box or the whole city.

Made of a run that is carried out now, or of the findings that are kept. What it shows is what the asker may see.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis.outputs import File
from twin.analysis.place import ANSWER_CRS
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress

if TYPE_CHECKING:
    from twin.city import City
    from twin.supervision.check import Supervision
    from twin.supervision.report import Language, Report
    from twin.supervision.report.model import Draw

HTML, PDF = "text/html", "application/pdf"
SUPERVISIONS = ("construction", "water", "one-map")


def supervision_report(
    city: "City",
    *,
    supervisions: list[str] | None = None,
    site: str | None = None,
    bbox: list[float] | None = None,
    crs: str | None = None,
    datetime: str | None = None,
    kept: bool = False,
    language: str = "zh",
    formats: list[str] | None = None,
    most: int = 500,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """A report as files; see the descriptions of the inputs.

    Raises
    ------
    InvalidInput, NotFound
        Named after the input: a place that is none, `kept` with a place or a moment, no font for a Chinese PDF.
    """
    from twin.supervision.report import base_map, html, pdf

    wanted = formats or ["html", "pdf"]
    report = made(
        city, supervisions, {"site": site, "bbox": bbox, "crs": crs, "datetime": datetime, "kept": kept},
        (cast("Language", language), base_map.drawer(city), most), progress.part(0, 85),
    )  # fmt: skip
    answer: dict[str, Any] = {
        "counts": report.counts,
        "sections": [
            {"title": each.title, "counts": each.counts, "n_findings": each.n_entries} for each in report.sections
        ],
    }
    if "html" in wanted:
        progress(88, "HTML")
        path = progress.file("report.html")
        path.write_text(html(report), "utf8")
        answer["html"] = File(path, HTML)
    if "pdf" in wanted:
        progress(92, "PDF")
        path = progress.file("report.pdf")
        path.write_bytes(pdf(report))
        answer["pdf"] = File(path, PDF)
    return answer


def made(
    city: "City",
    supervisions: Sequence[str] | None,
    place: dict[str, Any],
    how: "tuple[Language, Draw | None, int]",
    progress: Progress = SILENT,
) -> "Report":
    """The report itself, of a run (`site`, `bbox` with `crs`, `datetime`) or of what is `kept`."""
    from twin.analysis.supervise import box_of
    from twin.city import moment
    from twin.supervision import engine
    from twin.supervision.report import from_kept, from_runs

    names = cast("list[Supervision]", list(supervisions or SUPERVISIONS))
    language, draw, most = how
    if place["kept"]:
        if any(place[name] is not None for name in ("site", "bbox", "datetime")):
            raise InvalidInput("kept: kept findings are those of the whole city.", "Leave site, bbox and datetime out.")
        return from_kept(city, names, language, draw, most=most)
    if place["site"] is not None and place["bbox"] is not None:
        raise InvalidInput("site and bbox are both given.", "Give one of them, or neither for the whole city.")
    region = None if place["bbox"] is None else box_of(city, place["bbox"], place["crs"])
    runs = [
        engine.run(
            city, name, region=region, site=place["site"], moment=moment(place["datetime"]),
            progress=progress.part(100.0 * at / len(names), 100.0 * (at + 1) / len(names)),
        )
        for at, name in enumerate(names)
    ]  # fmt: skip
    return from_runs(city, runs, language, draw, most=most)


PROCESS = Process(
    id="supervision-report",
    title=Title("监管报告", "Supervision report"),
    description=Title(
        "生成监管报告（HTML 与 PDF）：各项监管的结论统计、发现清单、位置图，以及规划指标与目标对比；可选中文或英文。",
        "A report in HTML and PDF: how many things have which verdict in each supervision, what was found and where, "
        "and the indicators beside their targets; Chinese or English.",
    ),
    inputs={
        "supervisions": Parameter(
            Title("监管", "Supervisions; all when absent"),
            {"type": "array", "items": {"enum": list(SUPERVISIONS)}, "minItems": 1, "maxItems": 3, "uniqueItems": True},
            required=False,
        ),
        "site": Parameter(
            Title("工地（要素）", "Site: id of a construction site, or layer/id of a feature"),
            {"type": "string", "minLength": 1, "maxLength": 300},
            required=False,
        ),
        "bbox": Parameter(
            Title("范围", "Box: west, south, east, north, in `crs`"),
            {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
            required=False,
        ),
        "crs": ANSWER_CRS,
        "datetime": Parameter(
            Title("时点", "State of that moment; now when absent"), {"type": "string", "maxLength": 40}, required=False
        ),
        "kept": Parameter(
            Title("用已存发现", "Of the findings that are kept, instead of a run now"),
            {"type": "boolean", "default": False},
            required=False,
        ),
        "language": Parameter(
            Title("语言", "Language"), {"type": "string", "enum": ["zh", "en"], "default": "zh"}, required=False
        ),
        "formats": Parameter(
            Title("格式", "Formats; both when absent"),
            {"type": "array", "items": {"enum": ["html", "pdf"]}, "minItems": 1, "maxItems": 2, "uniqueItems": True},
            required=False,
        ),
        "most": Parameter(
            Title("最多列出", "Findings listed of each supervision; the others are counted"),
            {"type": "integer", "minimum": 1, "maximum": 5000, "default": 500},
            required=False,
        ),
    },
    outputs={
        "counts": Parameter(Title("结论计数", "How many things have which verdict"), {"type": "object"}),
        "sections": Parameter(Title("各项监管", "By supervision"), {"type": "array", "items": {"type": "object"}}),
        "html": Parameter(
            Title("网页", "The report as one HTML page"),
            {"type": "string", "contentMediaType": HTML},
            media_type=HTML,
        ),
        "pdf": Parameter(
            Title("PDF", "The report as PDF"),
            {"type": "string", "contentEncoding": "binary", "contentMediaType": PDF},
            media_type=PDF,
        ),
    },
    function=supervision_report,
    keywords=("report", "supervision"),
)
