"""Messages of Avro, read and written by fastavro."""

from streamem.connect.kafka.formats.avro.messages import AvroMessages, encode_avro, open_avro
from streamem.connect.kafka.formats.avro.registry import Registry, open_registry
from streamem.connect.kafka.formats.avro.schema import avro_schema, library

__all__ = ["AvroMessages", "Registry", "avro_schema", "encode_avro", "library", "open_avro", "open_registry"]
