"""Options that several verbs share, and the settings that they give."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.settings import Settings

Parser = argparse.ArgumentParser


def add_common(parser: Parser) -> None:
    """Add what every verb that works with a registry takes."""
    parser.add_argument("--work-folder", type=Path, metavar="DIR", help="folder for all that is made locally")
    parser.add_argument("--id-key-file", type=Path, metavar="FILE", help="file with the secret key that hashes ids")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow registry; default: embedded in the work folder")


def settings_from(options: argparse.Namespace) -> "Settings":
    """Return the settings of the environment, with the options of this call above them."""
    from model.settings import Settings, load_settings

    given = {name: value for name, value in vars(options).items() if name in Settings.model_fields}
    return load_settings(**given)
