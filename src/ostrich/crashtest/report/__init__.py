"""The crash test's pages: a report of one run, and an overview of many. Each is one HTML file of its own.

A page computes nothing anew: it reads what runs left in their folders, compares it with its types
(`answer.py`, `blocks.py`), and shows it. Every text may come from a stranger (class names, file names), so
the templates escape all of it, and a page's own policy allows only the one script whose hash it names.
"""

from ostrich.crashtest.report.overview import write_overview
from ostrich.crashtest.report.page import write_report

__all__ = ["write_overview", "write_report"]
