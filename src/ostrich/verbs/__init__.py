"""One verb for each command: what `ostrich.attack`, `ostrich.explain`, ... are.

A verb takes what a PyTorch user has (`inputs.py`) and returns an `Outcome`, whose `save(folder)` writes the
run directory of the command. The command line parses, calls the verb, prints.
"""
