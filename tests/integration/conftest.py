"""What integration tests share with those of the service."""

from tests.service.conftest import payments

__all__ = ["payments"]
