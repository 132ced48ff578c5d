"""`python -m dvlite`. Nothing in the current folder is ever imported, whatever its name."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # `-m` puts the current folder first: a data set may hold a `yaml.py`
    from dvlite.cli.main import entry

    entry()
