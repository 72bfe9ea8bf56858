"""Messages of Avro, read and written by compiled loops: no object is made for a record."""

from streamem.connect.kafka.formats.avro.messages import AvroMessages, open_avro
from streamem.connect.kafka.formats.avro.writing import avro_schema, encode_avro

__all__ = ["AvroMessages", "avro_schema", "encode_avro", "open_avro"]
