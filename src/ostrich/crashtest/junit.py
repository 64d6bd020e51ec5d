"""A check as a JUnit file, which CI systems read: gates are its tests, and probes stand beside them.

A gate that failed is a failure, one that could not be judged an error: so the file is red when, and only
when, the command ends with 1. A probe that had no time, or could not be answered, is skipped with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from ostrich.crashtest.answer import Gate, ProbeAnswer, Results

NAME = "ostrich check"


def junit(results: Results, probes: Sequence[ProbeAnswer]) -> bytes:
    """The file's content."""
    suite = ElementTree.Element("testsuite", name=_text(f"{NAME} {results['model']['name']}"))
    for gate in results["gates"]:
        _gate(suite, gate)
    for probe in probes:
        case = _case(suite, "probe", probe.name, probe.seconds)
        if probe.done:
            ElementTree.SubElement(case, "system-out").text = _text(probe.sentence or "")
        else:
            ElementTree.SubElement(case, "skipped", message=_text(probe.reason or probe.status))
    for missing in results["not_run"]:
        case = _case(suite, "probe", missing["probe"], None)
        ElementTree.SubElement(case, "skipped", message=_text(missing["reason"]))
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    suite.set("tests", str(len(suite)))
    for name, tag in counts.items():
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("time", f"{results['seconds'] or 0:.3f}")
    root = ElementTree.Element("testsuites", name=NAME)
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _gate(suite: ElementTree.Element, gate: Gate) -> None:
    case = _case(suite, f"gate {gate['kind']}", gate["text"], None)
    sentence = _text(gate["sentence"])
    if gate["passed"]:
        ElementTree.SubElement(case, "system-out").text = sentence
    elif gate["passed"] is False:
        ElementTree.SubElement(case, "failure", type="failed", message=sentence)
    else:
        ElementTree.SubElement(case, "error", type="not judged", message=sentence)


def _case(suite: ElementTree.Element, kind: str, name: str, seconds: float | None) -> ElementTree.Element:
    case = ElementTree.SubElement(suite, "testcase", classname=f"{NAME}: {kind}", name=_text(name))
    case.set("time", f"{seconds or 0:.3f}")
    return case


def _text(text: str) -> str:
    """What XML may hold: a stranger's file name can have other characters."""
    return "".join(c if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff") else "?" for c in text)
