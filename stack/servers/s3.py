"""An S3 server over a folder: versitygw, which checks keys, signatures and permissions as S3 does."""

import secrets
from pathlib import Path

from stack.servers.programs import program
from stack.servers.server import Server, listens, note

REGION = "us-east-1"


class S3(Server):
    """An S3 server; its keys lie in its folder."""

    name = "s3"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port)
        noted = self.folder / "keys"
        if not noted.is_file():
            note(noted, f"{secrets.token_hex(8)} {secrets.token_hex(16)}\n", secret=True)
        self.access_key, self.secret_key = noted.read_text().split()

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """Return the variables by which AWS's libraries find it, by its own or another address (a proxy before it)."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def start(self) -> None:
        """Start it; errors as of `Server.start`."""
        gateway = program("versitygw", how="make stack-tools (needs Go)")
        for name in ("root", "versions"):
            (self.folder / name).mkdir(exist_ok=True)
        command = [str(gateway), "--quiet", "--port", f"127.0.0.1:{self.port}", "--region", REGION]
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        backend = ["posix", "--versioning-dir", str(self.folder / "versions"), str(self.folder / "root")]
        self._launch([*command, *backend], lambda: listens(self.port), environment=keys)

    def make_bucket(self, name: str) -> None:
        """Make a bucket, unless it is there."""
        import boto3
        import botocore.config

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )
        if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=name)
        client.close()
