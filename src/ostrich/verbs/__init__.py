"""One verb for each command: what `ostrich.attack`, `ostrich.explain`, ... are.

A verb takes what a PyTorch user has (`inputs.py`) and returns an `Outcome`, whose `save(folder)` writes the
run directory of the command. The command line parses, calls the verb, prints.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["generate"])
