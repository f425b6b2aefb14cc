"""The custom resources as types, with their conditions. Pure: no I/O, no clock.

A document becomes a resource by `parse_resource`, which names what is wrong by field; models are strict, so a misspelt
field is reported and not ignored.
"""

from pullgate.resources.image_test import ImageTest
from pullgate.resources.license import License
from pullgate.resources.model import ObjectMeta
from pullgate.resources.parse import FieldError, InvalidResource, Resource, parse_resource
from pullgate.resources.registry import Registry
from pullgate.resources.secret import Secret

__all__ = [
    "FieldError",
    "ImageTest",
    "InvalidResource",
    "License",
    "ObjectMeta",
    "Registry",
    "Resource",
    "Secret",
    "parse_resource",
]
