"""A folder of any file system that Hadoop knows, as a place for a prepared history."""

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession


class HadoopFolder:
    """A path, or an address `s3://bucket/prefix` or `hdfs://host:port/folder`, through Spark's own file systems."""

    def __init__(self, spark: SparkSession, address: str) -> None:
        self.address = address
        self._root = hadoop_address(address)
        self._java = spark._jvm
        self._files = self._path("").getFileSystem(spark._jsc.hadoopConfiguration())

    def path(self, name: str) -> str:
        """Return the address of a file or folder below this one, as Spark takes it."""
        return f"{self._root}/{name}" if name else self._root

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is no such file."""
        path = self._path(name)
        if not self._files.exists(path):
            return None
        stream = self._files.open(path)
        try:
            return bytes(self._java.org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, which is there as a whole or not at all."""
        temporary, path = self._path(f".{name}.tmp"), self._path(name)
        stream = self._files.create(temporary, True)
        try:
            stream.write(content)
        finally:
            stream.close()
        self._files.delete(path, False)
        if not self._files.rename(temporary, path):
            raise OSError(f"{self.address}: {name} cannot be written")

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all in it, if it is there."""
        self._files.delete(self._path(name), True)

    def files(self) -> dict[str, int]:
        """Return the files that are no notes, by their names below the address, with their sizes in bytes."""
        root = self._path("")
        if not self._files.exists(root):
            return {}
        length = len(self._files.makeQualified(root).toString().rstrip("/")) + 1
        listed, found = self._files.listFiles(root, True), {}
        while listed.hasNext():
            status = listed.next()
            path = status.getPath()
            if path.getName()[0] not in "._":
                found[path.toString()[length:]] = int(status.getLen())
        return dict(sorted(found.items()))

    def _path(self, name: str) -> Any:
        return self._java.org.apache.hadoop.fs.Path(self.path(name))


def hadoop_address(address: str) -> str:
    """Return an address as Hadoop writes it: a path is `file://`, S3 is `s3a://`."""
    if "://" not in address:
        return f"file://{Path(address).absolute()}"
    return "s3a://" + address.removeprefix("s3://") if address.startswith("s3://") else address
