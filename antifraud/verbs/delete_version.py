"""`antifraud delete-version`: a version that nobody needs leaves the registry, with its files."""

import argparse

from antifraud.options import add_common, settings_from

TEXT = "Delete a version and its files, unless an alias or a running service needs it."
EXAMPLE = "antifraud delete-version 3 --service http://10.0.0.7:8000"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("version", metavar="VERSION", help="the version's number")
    parser.add_argument("--statistics", action="store_true", help="a version of the statistics instead of the model")
    parser.add_argument(
        "--service",
        action="append",
        default=[],
        metavar="URL",
        help="a running service that is asked whether it uses the version; repeat it for each",
    )
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.registry import MODEL_NAME, STATISTICS_NAME, open_publisher, registry_uri

    publisher = open_publisher(registry_uri(settings_from(options)), create=False)
    name = STATISTICS_NAME if options.statistics else MODEL_NAME
    deleted = publisher.delete_version(name, options.version, services=options.service)
    files = f"its files stay: {deleted.kept_files}" if deleted.kept_files else "its files too"
    print(f"deleted {deleted}, {files}")
    return 0
