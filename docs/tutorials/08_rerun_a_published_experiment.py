"""
Rerun a published experiment and judge it
=========================================

A study is a published claim, a rule that says what would count, runs with seeds, and a verdict.
"""

# %%
# What is claimed, and what is published
# --------------------------------------

import ostrich
from ostrich.published import published
from ostrich.studies import find

study = find("dropout")
print(study.question)
print(study.claim)
print(study.source)

# %%

for name in ("mnist-mlp/test-error", "mnist-mlp-dropout/test-error"):
    number = published(name)
    print(f"{number.value} {number.unit}: {number.source}")

# %%
# The rule, written before the run
# --------------------------------

print(study.rule)

# %%
# Run it
# ------
# ``smoke`` shows that it runs, in seconds. Its verdict is worth nothing: ``cpu`` takes minutes and is
# what the committed page stands on.

result = ostrich.study("dropout", "smoke")
result

# %%
# The verdict, and why
# --------------------

print(result.verdict, "-", result.because)

# %%
# The report has the figure, the published numbers beside these, and what is different here:

print(result.report.read_text()[:1500])

# %%
# What the committed run says
# ---------------------------

import json

from ostrich.studies import VERDICTS

for page in json.loads(VERDICTS.read_text()):
    if page["study"] == "dropout":
        print(page["scale"], page["verdict"], page["compared"])
