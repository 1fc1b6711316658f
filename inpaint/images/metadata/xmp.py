"""XMP of a photo that has been turned upright and is about to be painted over."""

from __future__ import annotations

from typing import Any
from xml.dom import Node, minidom
from xml.parsers.expat import ExpatError

_TIFF = "http://ns.adobe.com/tiff/1.0/"
# Pictures inside XMP still show what was painted over; the other two point to parts of the file that are not
# written again.
_DROPPED_NAMESPACES = frozenset(
    {
        "http://ns.adobe.com/xap/1.0/g/img/",
        "http://ns.google.com/photos/1.0/image/",
        "http://ns.google.com/photos/1.0/depthmap/",
        "http://ns.google.com/photos/1.0/container/",
        "http://ns.adobe.com/hdr-gain-map/1.0/",
        "http://ns.adobe.com/xmp/note/",
    }
)
_DROPPED_NAMES = frozenset({("http://ns.adobe.com/xap/1.0/", "Thumbnails")})
_MOST_BYTES = 4_000_000
_DEEPEST = 100


def clean_xmp(packet: bytes, notes: list[str]) -> bytes:
    """Return an XMP packet with the orientation reset to upright and without pictures.

    A packet that needs neither comes back as it is. One that cannot be read is left out, and a note says so.
    """
    try:
        return _cleaned(packet.rstrip(b"\0"))
    except (ExpatError, ValueError, RecursionError):
        notes.append("its XMP is damaged and was left out")
        return b""


def _cleaned(packet: bytes) -> bytes:
    text = packet.decode("utf-8-sig")
    # XMP has no definitions of entities; they are a way to take much memory.
    if len(packet) > _MOST_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("this is no XMP")
    if not text.strip():
        return b""
    with minidom.parseString(text.encode()) as document:
        changed = _clean_node(document, 0)
        if not changed:
            return packet
        # Node by node: the document's own text would begin with an XML declaration, which XMP has not.
        return "\n".join(node.toxml() for node in document.childNodes).encode()


def _clean_node(node: Any, depth: int) -> bool:
    """Clean a node and all below; return whether anything changed."""
    if depth > _DEEPEST:
        raise ValueError("this is nested too deeply for XMP")
    changed = False
    for child in list(node.childNodes):
        if child.nodeType != Node.ELEMENT_NODE:
            continue
        if _is_dropped(child):
            node.removeChild(child)
            changed = True
        elif (child.namespaceURI, child.localName) == (_TIFF, "Orientation"):
            changed |= _set_text(child, "1")
        else:
            changed |= _clean_attributes(child) | _clean_node(child, depth + 1)
    return changed


def _clean_attributes(element: Any) -> bool:
    changed = False
    for attribute in list((element.attributes or {}).values()):
        if _is_dropped(attribute):
            element.removeAttributeNode(attribute)
            changed = True
        elif (attribute.namespaceURI, attribute.localName) == (_TIFF, "Orientation"):
            changed |= attribute.value != "1"
            attribute.value = "1"
    return changed


def _is_dropped(node: Any) -> bool:
    name = (node.namespaceURI, node.localName)
    return node.namespaceURI in _DROPPED_NAMESPACES or name in _DROPPED_NAMES


def _set_text(element: Any, text: str) -> bool:
    if [getattr(child, "data", None) for child in element.childNodes] == [text]:
        return False
    while element.firstChild is not None:
        element.removeChild(element.firstChild)
    element.appendChild(element.ownerDocument.createTextNode(text))
    return True
