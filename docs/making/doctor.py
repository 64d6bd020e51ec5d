"""The codes of `ostrich doctor` with what to do, read from the checks themselves; and the tree of errors."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import ostrich.diagnosis
import ostrich.errors

CODE = re.compile(r"^ {4}([a-z0-9-]+) {2,}(.*)$")
HEAD = re.compile(r"^Of .*")
# Where the sentence is put together at run time, from what was found.
FOUND = {
    "missing-normalization": "Load it with the `--mean` and `--std` that it names.",
    "wrong-normalization": "Load it with the `--mean` and `--std` that it names.",
    "wrong-input-range": "Load it with the `--mean` and `--std` that it names: they make the range expected.",
    "wrong-channel-order": "Wrap it: `return self.inner(x.flip(1))`. Pictures are read as RGB here.",
    "wrong-class-order": "Give the order by `--classes FILE`, or each folder's class by `--class-map FILE`.",
    "unused-files": "It says how each kind of file is read: as `folder:`, `csv:`, `hf:` or another form.",
    "softmax-as-logits": "Leave the last softmax out, or take the logarithm of its output.",
    "sigmoid-as-logits": "Leave the last sigmoid out.",
    "other-preprocessing": "Load it with the options that it names.",
    "double-normalization": "Leave `--mean` and `--std` out, or take the network's own normalisation away.",
}


def pages(docs: Path) -> Iterator[tuple[str, str]]:
    """Both pages."""
    lines = [
        "# Codes of the doctor",
        "",
        "`ostrich doctor MODEL DATA` ends with findings, each with a stable code.",
        "",
    ]
    fixes = {**fixed(), **FOUND}
    for head, rows in sections(inspect.getdoc(ostrich.diagnosis) or ""):
        lines += [f"## {head}", "", "| code | what was found | what to do |", "| --- | --- | --- |"]
        lines += [f"| `{code}` | {cell(meaning)} | {cell(fixes.get(code, ''))} |" for code, meaning in rows]
        lines += [""]
    yield "doctor-codes.md", "\n".join(lines)
    yield "errors.md", errors()


def sections(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The package's docstring: what each group is about, its codes and their meanings."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in text.splitlines():
        row = CODE.match(line)
        if HEAD.match(line):
            found.append((re.sub(r" \(.*", "", line).rstrip(":"), []))
        elif row and found:
            found[-1][1].append((row[1], row[2]))
    return found


def fixed() -> dict[str, str]:
    """Of each code what to do, as it stands in the calls that make a finding."""
    found: dict[str, str] = {}
    for path in sorted(Path(inspect.getfile(ostrich.diagnosis)).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            line.targets[0].id: line.value
            for line in tree.body
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            given = {word.arg: word.value for word in call.keywords}
            code, fix = given.get("code"), given.get("fix")
            if fix is None:
                continue
            text = words(fix, constants)
            if isinstance(code, ast.Constant):
                found.setdefault(str(code.value), text)
            elif isinstance(code, ast.Name):  # a helper: its callers name the code first
                for other in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
                    first = other.args[0] if other.args else None
                    if isinstance(first, ast.Constant) and isinstance(first.value, str):
                        found.setdefault(first.value, text)
    return found


def words(value: ast.expr, constants: dict[str, ast.expr]) -> str:
    """A sentence of the source; what is known at run time only is left as (...)."""
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.JoinedStr):
        return "".join(words(part, constants) for part in value.values)
    if isinstance(value, ast.FormattedValue):
        return words(value.value, constants)
    if isinstance(value, ast.Name) and value.id in constants:
        return words(constants[value.id], {})
    return "(...)"


def errors() -> str:
    """The tree of errors and what each means."""
    tree = (inspect.getdoc(ostrich.errors) or "").split("\n\n")
    lines = [
        "# Errors",
        "",
        "Each is an `ostrich.OstrichError`; on the command line a sentence, and exit code 2.",
        "",
    ]
    lines += ["```text", *tree[1].splitlines(), "```", "", tree[2], ""]
    lines += ["| error | when | what to do |", "| --- | --- | --- |"]
    for name, kind in vars(ostrich.errors).items():
        if inspect.isclass(kind) and issubclass(kind, ostrich.errors.OstrichError):
            first = (inspect.getdoc(kind) or "").splitlines()[0]
            lines.append(
                f"| `{name}` | {cell(first)} | {TODO.get(name, 'Its message says what to do next.')} |"
            )
    return "\n".join([*lines, ""])


TODO = {
    "OstrichError": "Catch it where you would go on without the answer.",
    "InputError": "Its message says what is allowed; give that.",
    "UnknownName": "Take one of the names it lists; `ostrich list` has them all.",
    "ContractError": "Compare your class with `src/ostrich/attacks/base.py`.",
    "CheckpointMismatch": "Give the architecture that the weights belong to, or `--rename OLD=NEW`.",
    "OtherComputation": "Give another `--out`, or `--force` to begin anew.",
    "FolderInUse": "Wait for the other command, or give another `--out`.",
    "UnreadableImage": "Repair or remove the file that it names.",
    "UnreadableVideo": "Repair or remove the file that it names.",
    "MissingExtra": "Install the extra that it names: `pip install 'ostrich-vision[EXTRA]'`.",
    "WorkerDied": "Give the same command again; finished pieces are kept.",
    "Diverged": "Train anew with the lower rates that it names.",
    "RunExists": "Give another `--out`, or `--force`.",
}


def cell(text: str) -> str:
    """A sentence in a table."""
    return " ".join(text.split()).replace("|", r"\|").replace("<", r"\<")
