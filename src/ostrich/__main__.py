"""`python -m ostrich` is the command `ostrich`."""

from ostrich.cli.main import main

main()
