"""`python -m stack up | down | status`: a bank's platform on this machine."""

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stack.platform import Platform, PlatformError
from stack.servers import Missing, ServerError
from stack.servers.server import neutral_environment
from stack.shown import judged, places

FOLDER = Path("var/stack")


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where it lies; default: {FOLDER}")
    parser.add_argument("--delete", action="store_true", help="with down: also remove all that was made")
    parser.add_argument("what", choices=("up", "down", "status"))
    options = parser.parse_args()
    _forget_other_servers()
    try:
        return {"up": _up, "down": _down, "status": _status}[options.what](options)
    except (Missing, PlatformError, ServerError) as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstack: interrupted; run it again to go on, or `make stack-down`", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"stack: {error.filename or options.folder}: {error.strerror or error}", file=sys.stderr)
        return 1


def _up(options: argparse.Namespace) -> int:
    if shutil.disk_usage(options.folder.parent if options.folder.parent.exists() else Path()).free < 2 * 2**30:
        raise PlatformError(f"less than 2 GB are free where {options.folder} lies")
    platform = Platform(options.folder)
    with _alone(platform):
        return _bring_up(platform)


def _bring_up(platform: Platform) -> int:
    for server in platform.servers():
        _step(f"starting {server.name}", server.start)
    _step("making buckets and topics", platform.bootstrap)
    _step("simulating a small bank on S3", platform.simulate, otherwise="there already")
    _step("training the first champion", platform.train, otherwise="there already")
    for process in platform.processes():
        _step(f"starting {process.folder.name}", process.start)
    environment = platform.write_environment()
    print(judged(platform))
    print(f"\nWhere everything is\n{places(platform)}\n")
    print("Any verb on this platform, such as a refresh from S3:")
    print(
        f"  source {environment} && .venv/bin/antifraud refresh --history s3://bank/history --reports s3://bank/reports"
    )
    print("End it: make stack-down (DELETE=1 also removes what it made)")
    return 0


def _down(options: argparse.Namespace) -> int:
    if not options.folder.is_dir():
        print(f"there is no stack in {options.folder}")
        return 0
    platform = Platform(options.folder)
    with _alone(platform):
        for server in platform.stop():
            print(f"stopped {server.folder.name}", flush=True)
        if options.delete:
            platform.delete()
            print(f"removed {options.folder}")
    return 0


def _status(options: argparse.Namespace) -> int:
    if not options.folder.is_dir():
        print(f"there is no stack in {options.folder}")
        return 1
    platform = Platform(options.folder)
    everything = [*platform.servers(), *platform.processes()]
    for server in everything:
        print(f"  {'runs' if server.runs() else 'does not run':<13} {server.folder.name}")
    print(places(platform))
    return 0 if all(server.runs() for server in everything) else 1


@contextmanager
def _alone(platform: Platform) -> Iterator[None]:
    """Keep others from starting and stopping the same stack meanwhile."""
    with (platform.folder / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlatformError(
                f"another command starts or stops the stack in {platform.folder}; wait for it"
            ) from None
        yield


def _forget_other_servers() -> None:
    """Take out of the environment what leads elsewhere than to this stack: settings, a proxy on the way to loopback."""
    kept = neutral_environment()
    direct = [kept.get("no_proxy") or kept.get("NO_PROXY"), "127.0.0.1", "localhost"]
    kept["no_proxy"] = kept["NO_PROXY"] = ",".join(filter(None, direct))
    os.environ.clear()
    os.environ.update(kept)


def _step(what: str, do: Callable[[], Any], *, otherwise: str = "done") -> None:
    print(f"{what} ... ", end="", flush=True)
    print(otherwise if do() is False else "done", flush=True)


if __name__ == "__main__":
    sys.exit(main())
