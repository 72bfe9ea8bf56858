from tests.broker.fixture import broker, topic

__all__ = ["broker", "topic"]
