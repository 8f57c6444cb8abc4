"""Where data lies: a path, `s3://bucket/prefix` or `hdfs://host:port/path`, opened the same way.

`open_address(text)` gives a `Place`: list files, read, write atomically, publish a folder as a snapshot.
"""

from model.address import AddressError, Location, is_remote, location, parse_address
from model.training.addresses.copies import fetched, worked_on_here
from model.training.addresses.days import Days
from model.training.addresses.duckdb_window import raise_failed_read, readable
from model.training.addresses.listing import PlacedFile, with_tags
from model.training.addresses.manifest import MANIFEST_NAME
from model.training.addresses.opening import open_address
from model.training.addresses.place import Place
from model.training.addresses.snapshot import Draft, snapshot

__all__ = [
    "MANIFEST_NAME",
    "AddressError",
    "Days",
    "Draft",
    "Location",
    "Place",
    "PlacedFile",
    "fetched",
    "is_remote",
    "location",
    "open_address",
    "parse_address",
    "raise_failed_read",
    "readable",
    "snapshot",
    "with_tags",
    "worked_on_here",
]
