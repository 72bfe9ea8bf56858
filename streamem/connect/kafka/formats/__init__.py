"""The values of Kafka messages, to frames and back: JSON, CSV, Avro, Arrow."""

from streamem.connect.kafka.formats.arrow import encode_arrow
from streamem.connect.kafka.formats.avro import avro_schema, encode_avro
from streamem.connect.kafka.formats.declared import Format, RegistrySettings
from streamem.connect.kafka.formats.decoder import Decoded, Decoder
from streamem.connect.kafka.formats.opening import open_decoder
from streamem.connect.kafka.formats.text import encode_csv, encode_json

__all__ = [
    "Decoded",
    "Decoder",
    "Format",
    "RegistrySettings",
    "avro_schema",
    "encode_arrow",
    "encode_avro",
    "encode_csv",
    "encode_json",
    "open_decoder",
]
