"""Topics, and rights to them, made by the one who may do everything."""

import time
import uuid
from collections.abc import Mapping

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from tests.broker.reading import TIMEOUT_SECONDS, client


def create(bootstrap: str, partitions: int = 1, config: Mapping[str, object] | None = None) -> str:
    """Make a topic with a name that no other has; return the name when the topic can be written."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    admin = AdminClient(client(bootstrap))
    settings = {key: str(value) for key, value in (config or {}).items()}
    admin.create_topics([NewTopic(name, partitions, config=settings)])[name].result(TIMEOUT_SECONDS)
    until = time.monotonic() + TIMEOUT_SECONDS
    while not ready(admin, name, partitions):
        if time.monotonic() > until:
            raise TimeoutError(f"{name} has no leader after {TIMEOUT_SECONDS} s")
    return name


def ready(admin: AdminClient, name: str, partitions: int) -> bool:
    """Return whether a broker leads every partition: it learns of a topic after the controller has made it."""
    known = admin.list_topics(name, timeout=TIMEOUT_SECONDS).topics[name].partitions.values()
    return len(known) == partitions and all(one.leader >= 0 for one in known)


def delete(bootstrap: str, name: str) -> None:
    admin = AdminClient(client(bootstrap))
    admin.delete_topics([name])[name].result(TIMEOUT_SECONDS)


def allow(bootstrap: str, user: str, operation: AclOperation, kind: ResourceType, name: str) -> None:
    """Give a user the right to do something with a topic, a group or a transactional id."""
    literal, anywhere = ResourcePatternType.LITERAL, "*"
    right = AclBinding(kind, name, literal, f"User:{user}", anywhere, operation, AclPermissionType.ALLOW)
    admin = AdminClient(client(bootstrap))
    admin.create_acls([right])[right].result(TIMEOUT_SECONDS)
