"""The `dvlite` program and `python -m dvlite`. Nothing in the current folder is ever imported, whatever its name."""

import gc
import sys

# Loading makes many objects and no garbage: with the interpreter's 700, a tenth of the time of a small command goes into looking for some.
# No command measured takes more memory for it.
_LOOK_FOR_GARBAGE_AFTER = 50_000


def entry() -> int:
    """Runs the program and returns its exit code, also if Ctrl-C comes while it still loads: no traceback then."""
    gc.set_threshold(_LOOK_FOR_GARBAGE_AFTER)
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
