import pytest

from tests.broker.fixture import broker, topic
from tests.connect.kafka.running import CLIENTS

__all__ = ["broker", "client", "topic"]


@pytest.fixture(params=CLIENTS)
def client(request):
    """The name of each client in turn."""
    return request.param
