"""Values and records as bytes, and back: exactly, or not at all. The front door of the codec.

    records ──► wire (arrays) ──► encoder ──► body ≤ 32 KiB ──────────────────────► Packed(body, ())
                                   │    │ larger
             values, classes ◄─────┘    └──► spill: large parts become blobs ─────► Packed(body, blobs)

    body ──► decoder ──► values, classes (registry, fetch) ──► wire ──► records

Invariants:
1. Decoding what was encoded gives equal values of the same classes. What could not be so is refused with
   ``NotSerializable``, naming the value's place, before any byte leaves the encoder.
2. Decoding never imports, and calls no class that the registry does not hold. Hostile bytes end in ``LogCorrupt`` or
   ``UnknownType``.
3. Equal values give equal bytes, so an unchanged large value is the same blob again.

This module must not contain code: it only gathers what the rest of the package uses.
"""

from __future__ import annotations

from .decoder import Decoder, references
from .encoder import DEPTH_MAX, Encoder, Packed
from .registry import GLOBAL, Opaque, Registry, register_type

__all__ = [
    "DEPTH_MAX",
    "GLOBAL",
    "Decoder",
    "Encoder",
    "Opaque",
    "Packed",
    "Registry",
    "references",
    "register_type",
]
