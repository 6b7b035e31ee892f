"""`python -m haman.cli`."""

from haman.cli import main

main()
