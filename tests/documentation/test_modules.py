"""The names of modules: `import a.b.c` gives the module, whatever its package exports."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import ostrich

MODULES = [
    found.name
    for found in pkgutil.walk_packages(ostrich.__path__, "ostrich.")
    if not found.name.endswith("__main__")
]


def test_no_name_of_a_package_hides_a_module_of_it():
    hidden = []
    for name in MODULES:
        module = importlib.import_module(name)
        parent, _, own = name.rpartition(".")
        if getattr(sys.modules[parent], own) is not module:
            hidden.append(name)
    assert len(MODULES) > 200
    assert hidden == []


def test_a_method_is_found_in_the_module_of_its_name():
    import ostrich.attribution.gradient
    import ostrich.visualization.lucid

    assert ostrich.attribution.gradient.Gradient is ostrich.attribution.Gradient
    assert ostrich.visualization.PRESETS["lucid"] is ostrich.visualization.lucid.LUCID
