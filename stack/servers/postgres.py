"""PostgreSQL, from the system's packages."""

import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stack.servers.programs import Missing, program
from stack.servers.server import Server, ServerError, note

_HOW = "on Debian and Ubuntu: apt-get install postgresql"


class Postgres(Server):
    """A PostgreSQL cluster with one superuser, `postgres`, whose password lies in the folder."""

    name = "postgres"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port)
        # It refuses to run as root, and its own user can rarely enter a folder of root's.
        self._user = "postgres" if os.geteuid() == 0 else None
        mark = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        self.home = Path("/var/tmp") / f"antifraud-postgres-{mark}" if self._user else self.folder  # noqa: S108
        noted = self.folder / "password"
        if not noted.is_file():
            note(noted, secrets.token_urlsafe(16), secret=True)
        self.password = noted.read_text()

    @property
    def url(self) -> str:
        """The address of its database for SQLAlchemy, password included."""
        return f"postgresql+psycopg2://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, with a new cluster where there is none; errors as of `Server.start`."""
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        postgres = program("postgres", how=_HOW, folders=tuple(binaries))
        self._check_user()
        if not (self.home / "content" / "PG_VERSION").is_file():
            self._create(postgres.parent)
        places = ["-D", self.home / "content", "-p", self.port, "-k", self.home, "-h", "127.0.0.1"]
        quick = ["-c", "fsync=off", "-c", "full_page_writes=off"]  # a loopback database is made again, not recovered
        self._launch([postgres, *map(str, places), *quick], self._answers, user=self._user)

    def delete(self) -> None:
        """Remove its database where that lies outside its folder."""
        if self.home != self.folder:
            shutil.rmtree(self.home, ignore_errors=True)

    def _check_user(self) -> None:
        if self._user:
            try:
                pwd.getpwnam(self._user)
            except KeyError:
                raise Missing(f"there is no user postgres, and PostgreSQL does not run as root: {_HOW}") from None

    def _create(self, binaries: Path) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        password = self.home / "password.new"
        password.touch(0o600)
        password.write_text(self.password)
        if self._user:
            shutil.chown(self.home, self._user, self._user)
            shutil.chown(password, self._user, self._user)
        options = ["-A", "scram-sha-256", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        self._run([str(binaries / "initdb"), "-D", str(self.home / "content"), *options, f"--pwfile={password}"])
        password.unlink()

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.home,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"{command[0]} ended with code {done.returncode}:\n{done.stderr[-3000:]}")

    def _answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(
                host="127.0.0.1", port=self.port, user="postgres", password=self.password, dbname="postgres"
            ).close()
        except psycopg2.OperationalError:
            return False
        return True
