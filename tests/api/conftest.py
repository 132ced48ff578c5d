"""The repository that is read."""

from tests.published import options, published, url  # noqa: F401  # fixtures
