"""Reads a segment with tools that nobody here wrote. Arguments: the folder of kelisim_kms.py, of records, the segment.

Ends with 0 and the line `all readers agree`, or with what went wrong.
"""

import pathlib
import shutil
import sys
import tempfile

import duckdb
import polars
import pyarrow.parquet as parquet

sys.path.insert(0, sys.argv[1])
import kelisim_kms  # noqa: E402

records, path = pathlib.Path(sys.argv[2]), sys.argv[3]
CLEAR = ["ts", "seq", "url_path", "http_response_status_code", "cookie_names"]
SEALED = {"client_address": "sec", "user_agent_original": "diag"}


def refused(what, work):
    try:
        work()
    except Exception as error:  # each tool has errors of its own
        print(f"{what}: refused with {type(error).__name__}")
        return
    raise SystemExit(f"{what}: was not refused")


def some_keys(classes):
    """A folder with the keys of these classes only."""
    folder = pathlib.Path(tempfile.mkdtemp())
    for name in classes:
        shutil.copytree(records / "keys" / name, folder / name)
    return folder


# Clear columns need no key.
clear = parquet.read_table(path, columns=CLEAR)
rows = clear.num_rows
assert rows > 0
paths = sorted(p for p in clear["url_path"].to_pylist() if p is not None)
assert any(p.startswith("/interop/") for p in paths), paths
about = parquet.read_schema(path).field("client_address").metadata
assert about[b"kelisim.name"] == b"client.address" and about[b"kelisim.class"] == b"sec", about

# As text: DuckDB's times with a zone need one more Python package.
names = ", ".join(CLEAR).replace("ts", "CAST(ts AS VARCHAR) AS ts", 1)
with duckdb.connect() as database:
    found = database.execute(f"SELECT {names} FROM read_parquet(?)", [path]).fetchall()
    assert sorted(r[2] for r in found if r[2] is not None) == paths
    count = database.execute(
        "SELECT count(*) FROM read_parquet(?) WHERE url_path LIKE '/interop/%'", [path]
    ).fetchone()[0]
    assert count == sum(p.startswith("/interop/") for p in paths)
    for column in SEALED:
        refused(f"duckdb {column}",
                lambda: database.execute(f"SELECT {column} FROM read_parquet(?)", [path]).fetchall())

frame = polars.read_parquet(path, columns=CLEAR)
assert sorted(p for p in frame["url_path"].to_list() if p is not None) == paths
assert polars.scan_parquet(path).select("url_path").collect().height == rows
for column in SEALED:
    refused(f"polars {column}", lambda: polars.read_parquet(path, columns=[column]))
    refused(f"pyarrow {column}", lambda: parquet.read_table(path, columns=[column]))

# One purpose's keys open its columns and no other.
for column, name in SEALED.items():
    keys = some_keys(["ops", name])
    values = kelisim_kms.read(keys, path, ["url_path", column])[column].to_pylist()
    assert any(value is not None for value in values), column
    for other in SEALED:
        if other != column:
            refused(f"pyarrow {other} with {name}", lambda: kelisim_kms.read(keys, path, [other]))
    shutil.rmtree(keys)

# A destroyed key takes its columns; what is clear stays.
keys = some_keys(["ops", "diag"])
assert kelisim_kms.read(keys, path, CLEAR).num_rows == rows
refused("pyarrow without the destroyed key", lambda: kelisim_kms.read(keys, path, ["client_address"]))
shutil.rmtree(keys)
print("all readers agree")
