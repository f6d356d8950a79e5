"""Reads exports with tools that nobody here wrote. Arguments: the Parquet file, the Arrow file, the level of addresses.

Ends with 0 and the line `all readers agree`, or with what went wrong.
"""

import sys

import duckdb
import polars
import pyarrow
import pyarrow.ipc
import pyarrow.parquet as parquet

plain, arrow, level = sys.argv[1:4]
table = parquet.read_table(plain)
with pyarrow.ipc.open_file(arrow) as reader:
    ipc = reader.read_all()
assert table.equals(ipc), "both formats say the same"
rows = table.num_rows
assert rows > 0

# No name is quoted in SQL, and the dotted one is with it.
about = table.schema.field("url_path").metadata
assert about[b"kelisim.name"] == b"url.path" and about[b"kelisim.class"] == b"clear", about
assert str(table.schema.field("start_ts").type) == "timestamp[us, tz=UTC]", table.schema
assert str(table.schema.field("cookie_names").type).startswith("list<"), table.schema
names = table.column_names
if level == "full":
    assert set(table["client_address"].to_pylist()) == {"127.0.0.1"}
    assert "client_port" in names
elif level == "network":
    assert set(table["client_address"].to_pylist()) == {"127.0.0.0"}
    assert "client_port" not in names and "client_forwarded_chain" not in names
else:
    assert not [name for name in names if "address" in name and name != "upstream_address"], names
    assert "client_net" not in names and "visitor_tag" in names, names
assert "user_agent_original" not in names and "geo_country_iso_code" not in names

paths = sorted(table["url_path"].to_pylist())
with duckdb.connect() as database:
    found = database.execute("SELECT url_path FROM read_parquet(?) ORDER BY 1", [plain]).fetchall()
    assert [row[0] for row in found] == paths
assert sorted(polars.read_parquet(plain)["url_path"].to_list()) == paths
assert sorted(polars.read_ipc(arrow)["url_path"].to_list()) == paths
print("all readers agree")
