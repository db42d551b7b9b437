"""The RADIUS attributes that we know by name, and their values (pyrad reads the files beside this).

A key is the attribute's number, or (vendor number, vendor's own number).
"""

import functools
import struct
from importlib import resources
from typing import Final, NamedTuple

from pyrad import tools
from pyrad.dictionary import Dictionary

from l2tpns_core.radius.wire import encode_attribute, encode_vendor_attribute

Key = int | tuple[int, int]

FILES: Final = ("dictionary.rfc", "dictionary.vendor")
MAX_TAG: Final = 0x1F
"""A first octet up to this is a tag (RFC 2868 section 3.1)."""
PYRAD_ERRORS: Final = (AttributeError, TypeError, ValueError, struct.error)
"""What pyrad raises for a value that does not fit its attribute."""


class DictionaryError(ValueError):
    """The attribute is not in the dictionary, or the value does not fit it."""


class AttributeValue(NamedTuple):
    name: str
    value: object


@functools.cache
def _dictionary() -> Dictionary:
    dictionary = Dictionary()
    folder = resources.files(__package__)
    for name in FILES:
        with folder.joinpath(name).open(encoding="ascii") as file:
            dictionary.ReadDictionary(file)
    return dictionary


def describe(key: Key) -> str:
    """The attribute's name, or its numbers when the dictionary does not know it."""
    index = _dictionary().attrindex
    if index.HasBackward(key):
        return str(index.GetBackward(key))
    if isinstance(key, tuple):
        return f"attribute {key[1]} of vendor {key[0]}"
    return f"attribute {key}"


def decode_value(key: Key, octets: bytes) -> AttributeValue:
    """Name and Python value of a received attribute; raises DictionaryError.

    Numbers that have a name in the dictionary are given by it, a tag is dropped, and a value that
    is hidden under the shared secret stays hidden.
    """
    dictionary = _dictionary()
    if not dictionary.attrindex.HasBackward(key):
        raise DictionaryError(f"{describe(key)} is not in the dictionary")
    name: str = dictionary.attrindex.GetBackward(key)
    attribute = dictionary.attributes[name]
    if attribute.encrypt:
        return AttributeValue(name, octets)
    if attribute.has_tag and octets:
        octets = _without_tag(attribute.type, octets)
    try:
        if attribute.values.HasBackward(octets):
            return AttributeValue(name, attribute.values.GetBackward(octets))
        return AttributeValue(name, tools.DecodeAttr(attribute.type, octets))
    except PYRAD_ERRORS as error:
        raise DictionaryError(f"{name}: {error}") from None


def encode_named(name: str, value: object) -> bytes:
    """A whole attribute by dictionary name; raises DictionaryError.

    Octets are sent as they are. Attributes that are hidden under the shared secret are refused.
    """
    attribute = _dictionary().attributes.get(name)
    if attribute is None:
        raise DictionaryError(f"{name} is not in the dictionary")
    if attribute.encrypt:
        raise DictionaryError(f"{name} cannot be sent")
    try:
        if isinstance(value, bytes):
            octets = value
        elif attribute.values.HasForward(value):
            octets = attribute.values.GetForward(value)
        else:
            octets = tools.EncodeAttr(attribute.type, value)
        if attribute.vendor:
            vendor = _dictionary().vendors.GetForward(attribute.vendor)
            return encode_vendor_attribute(vendor, attribute.code, octets)
        return encode_attribute(attribute.code, octets)
    except PYRAD_ERRORS as error:
        raise DictionaryError(f"{name}: {error}") from None


def _without_tag(kind: str, octets: bytes) -> bytes:
    if kind == "integer":
        return b"\0" + octets[1:]
    return octets[1:] if octets[0] <= MAX_TAG else octets
