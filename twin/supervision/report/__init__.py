"""A report of supervision: what was found, by which rule, where, and how the indicators stand; as HTML and as PDF.

`gather` makes a `Report` from runs of the engine or from findings that are kept; `page` and `pdf` write it. Both are
whole in themselves: no script, no other host.
"""

from twin.supervision.report.gather import from_kept, from_runs
from twin.supervision.report.model import Language, Picture, Report
from twin.supervision.report.page import html
from twin.supervision.report.pdf import pdf

__all__ = ["Language", "Picture", "Report", "from_kept", "from_runs", "html", "pdf"]
