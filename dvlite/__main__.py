"""The `dvlite` program and `python -m dvlite`. Nothing in the current folder is ever imported, whatever its name."""

import sys


def entry() -> int:
    """Runs the program and returns its exit code, also if Ctrl-C comes while it still loads: no traceback then."""
    try:
        from dvlite.cli.main import main

        return main()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("interrupted; run the command again to continue\n")
        return 130


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # `-m` puts the current folder first: a data set may hold a `yaml.py`
    sys.exit(entry())
