"""How a prepared history lies in its folder, and how it is told from a raw one.

transactions/date=YYYY-MM-DD/*.parquet     one row a payment, ids hashed
customer_tiles/*.parquet                   sums of each hour
terminal_tiles/*.parquet
customer_statistics/*.parquet              sums as of one hour, where asked for
terminal_statistics/*.parquet
cleaning.json                              rows read, kept and dropped, by cause

`antifraud prepare` writes it as one snapshot of `model.training.addresses`: there as a whole or not at all.
"""

from model.address import Location
from model.statistics import ENTITIES
from model.training.addresses import open_address
from model.training.addresses.manifest import Manifest

CLEANING = "cleaning.json"
KIND = "prepared history"  # what its manifest says that it is
TRANSACTIONS = "transactions"
TILES = tuple(f"{entity}_tiles" for entity in ENTITIES)
STATISTICS = tuple(f"{entity}_statistics" for entity in ENTITIES)
TABLES = (TRANSACTIONS, *TILES, *STATISTICS)


def prepared_manifest(address: Location) -> Manifest | None:
    """Return the manifest of a prepared history; None for a raw one, and for what is not there."""
    manifest = open_address(address).manifest()
    return manifest if manifest is not None and manifest.about.get("kind") == KIND else None
