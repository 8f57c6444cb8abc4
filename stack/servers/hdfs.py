"""HDFS, one NameNode and one DataNode, from the jars of `stack/hdfs/pom.xml`."""

import json
import os
import subprocess
import urllib.request
from contextlib import suppress
from pathlib import Path

from stack.servers.programs import jars, java
from stack.servers.server import Server, ServerError

_SERVER = "org.apache.hadoop.hdfs.server"
_LOG4J = """\
log4j.rootLogger=WARN,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %c{1}: %m%n
"""


class Hdfs(Server):
    """HDFS on one machine; everybody may write everywhere."""

    name = "hdfs"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port)
        self.webhdfs_port = self._number("webhdfs-port")
        self._ports = [self._number(f"datanode-{part}-port") for part in ("transfer", "http", "ipc")]

    @property
    def hdfs(self) -> str:
        """Its address for Hadoop's clients."""
        return f"hdfs://127.0.0.1:{self.port}"

    @property
    def webhdfs(self) -> str:
        """The address of its REST interface."""
        return f"http://127.0.0.1:{self.webhdfs_port}"

    def start(self) -> None:
        """Start both, with a new file system where there is none, and wait for a live DataNode."""
        self._write_settings()
        program = [str(java()), "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{self.folder}:{jars('hdfs')}/*"]
        if not (self.folder / "name" / "current").is_dir():
            self._format([*program, f"{_SERVER}.namenode.NameNode", "-format", "-nonInteractive", "-force"])
        self._launch([*program, f"{_SERVER}.namenode.NameNode"], lambda: self._live() is not None, part="namenode")
        self._launch([*program, f"{_SERVER}.datanode.DataNode"], lambda: bool(self._live()), part="datanode")

    def _parts(self) -> tuple[str, ...]:
        return ("namenode", "datanode")

    def _write_settings(self) -> None:
        transfer, http, ipc = (f"127.0.0.1:{port}" for port in self._ports)
        _write_xml(self.folder / "core-site.xml", {"fs.defaultFS": self.hdfs, "hadoop.tmp.dir": self.folder / "tmp"})
        settings = {
            "dfs.replication": 1,
            "dfs.permissions.enabled": "false",
            "dfs.namenode.name.dir": f"file://{self.folder / 'name'}",
            "dfs.datanode.data.dir": f"file://{self.folder / 'blocks'}",
            "dfs.namenode.rpc-address": f"127.0.0.1:{self.port}",
            "dfs.namenode.http-address": f"127.0.0.1:{self.webhdfs_port}",
            "dfs.datanode.address": transfer,
            "dfs.datanode.http.address": http,
            "dfs.datanode.ipc.address": ipc,
            "dfs.datanode.hostname": "127.0.0.1",
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.namenode.safemode.extension": 0,
            # By default it suffices that 99.9 % of the blocks are told of, rounded down: of a single one, none.
            "dfs.namenode.safemode.threshold-pct": 1.0,
        }
        _write_xml(self.folder / "hdfs-site.xml", settings)
        (self.folder / "log4j.properties").write_text(_LOG4J)
        for part in ("hdfs", "datanode", "static"):  # a NameNode without these dies without a word
            place = self.folder / "webapps" / part / "WEB-INF"
            place.mkdir(parents=True, exist_ok=True)
            (place / "web.xml").write_text("<web-app/>\n")

    def _format(self, command: list[str]) -> None:
        environment = {**os.environ, "HADOOP_USER_NAME": "hdfs"}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(f"HDFS could not be formatted:\n{(done.stdout + done.stderr)[-3000:]}")

    def _live(self) -> int | None:
        """Return how many DataNodes live and told of blocks and room; nothing while the NameNode does not answer."""
        query = "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
        with (
            suppress(OSError, ValueError, KeyError, IndexError),
            urllib.request.urlopen(self.webhdfs + query, timeout=5) as answer,  # noqa: S310  http on loopback
        ):
            state = json.load(answer)["beans"][0]
            # A DataNode counts as alive once it has registered; until its first heartbeat nothing can be written to it.
            is_usable = state["FSState"] == "Operational" and state["CapacityRemaining"] > 0
            return int(state["NumLiveDataNodes"]) if is_usable else 0
        return None


def _write_xml(path: Path, settings: dict[str, object]) -> None:
    lines = "".join(
        f"  <property><name>{name}</name><value>{value}</value></property>\n" for name, value in settings.items()
    )
    path.write_text(f"<configuration>\n{lines}</configuration>\n")
