"""dvlite versions data and models next to code.

From Python: `dvlite.Repo` has the verbs of the command line, `dvlite.open` reads a file of any version, `dvlite.log` writes metrics
(docs/reference/python.md). What has a name in `__all__` stays; everything else in the package may change with any release.
"""

TYPE_CHECKING = (
    False  # what type checkers take for true; `typing` itself would cost half of the time of `import dvlite`
)
if TYPE_CHECKING:
    from dvlite.api.open_file import open as open  # noqa: A004  # dvlite.open
    from dvlite.api.progress import ProgressEvent as ProgressEvent
    from dvlite.api.project import Repo as Repo
    from dvlite.api.training_log import TrainingLog as TrainingLog
    from dvlite.api.training_log import log as log
    from dvlite.errors import Busy as Busy
    from dvlite.errors import DvliteError as DvliteError
    from dvlite.errors import FormatError as FormatError
    from dvlite.errors import NotARepository as NotARepository
    from dvlite.errors import ObjectCorrupt as ObjectCorrupt
    from dvlite.errors import ObjectMissing as ObjectMissing
    from dvlite.errors import PartlyDone as PartlyDone
    from dvlite.errors import RemoteError as RemoteError
    from dvlite.errors import StageFailed as StageFailed
    from dvlite.errors import Untrusted as Untrusted
    from dvlite.errors import UsageError as UsageError

__version__ = "0.1.0"
__all__ = [
    "Busy",
    "DvliteError",
    "FormatError",
    "NotARepository",
    "ObjectCorrupt",
    "ObjectMissing",
    "PartlyDone",
    "ProgressEvent",
    "RemoteError",
    "Repo",
    "StageFailed",
    "TrainingLog",
    "Untrusted",
    "UsageError",
    "__version__",
    "log",
    "open",
]
_PLACES = {
    "ProgressEvent": "api.progress",
    "Repo": "api.project",
    "TrainingLog": "api.training_log",
    "log": "api.training_log",
    "open": "api.open_file",
}  # of the others: errors


def __getattr__(name: str) -> object:
    """Loads a public name when it is used first."""
    if name not in __all__:
        raise AttributeError(f"module 'dvlite' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"dvlite.{_PLACES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
