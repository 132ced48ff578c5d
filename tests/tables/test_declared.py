"""What pipeline files declare about tables, by the path of a file."""

from dvlite.formats.tables import TableSpec
from dvlite.tables.declared import key_in_file, table_at

KNOWN = {
    spec.path: spec
    for spec in (
        TableSpec("sales", 1, ("year", "id")),
        TableSpec("in/*.csv", 2, ("k",)),
        TableSpec("in/a.csv", 3, ("a",)),
    )
}


def test_a_file_belongs_to_the_table_that_names_it_or_a_folder_around_it():
    assert table_at(KNOWN, "in/a.csv").key == ("a",)
    assert (table_at(KNOWN, "in/b.csv").key, table_at(KNOWN, "in/b.csv").path) == (("k",), "in/b.csv")
    assert table_at(KNOWN, "sales/year=2026/x.parquet").path == "sales"
    assert table_at(KNOWN, "in/deep/b.csv") is None
    assert table_at(KNOWN, "sales.csv") is None


def test_a_file_of_a_folder_has_no_columns_for_its_folders():
    assert key_in_file(KNOWN["sales"], "sales/year=2026/x.parquet") == ("id",)
    assert key_in_file(KNOWN["sales"], "sales/x.parquet") == ("year", "id")
    assert key_in_file(KNOWN["in/a.csv"], "in/a.csv") == ("a",)
