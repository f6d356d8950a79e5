"""Runs what `kelisim logs fields --as` prints, in the folder of the records. Arguments: the three texts' files, rows.

Ends with 0 and the line `all views agree`, or with what went wrong.
"""

import sys

import duckdb
import polars

sql, with_polars, with_pyarrow, rows = sys.argv[1:5]
with duckdb.connect() as database:
    for statement in open(sql, encoding="utf-8").read().split(";"):
        if statement.strip():
            database.execute(statement)
    # Times with a zone need one more Python package, so they are not fetched.
    assert database.execute("SELECT count(*), count(ts) FROM records").fetchone() == (int(rows), int(rows))
    paths = sorted(row[0] for row in database.execute("SELECT url_path FROM records").fetchall())
    names = [row[0] for row in database.execute("DESCRIBE records").fetchall()]

space = {}
exec(open(with_polars, encoding="utf-8").read(), space)
frame = space["records"].collect()
assert (sorted(frame["url_path"].to_list()), frame.columns) == (paths, names)

space = {}
exec(open(with_pyarrow, encoding="utf-8").read(), space)
table = space["records"]
assert (sorted(table["url_path"].to_pylist()), table.column_names) == (paths, names)
print("all views agree")
