"""A pipeline file becomes a pipeline: YAML, variables, ``--set``, types, checks, objects.

`load` reads a file into `Settings`; `json_schema` describes it. Everything that can be known without opening anything
is refused here, all of it at once.
"""

from streamem.config.settings import Settings, json_schema, load

__all__ = ["Settings", "json_schema", "load"]
