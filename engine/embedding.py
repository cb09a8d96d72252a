"""Vectors: the user's embedding function, whatever its shape, and how near two vectors are.

    function(texts) · coroutine function(texts) · embed_documents(texts) + embed_query(text)
                  └──────────────┬──────────────┘
                             Embedder ──► vectors as bytes ──► cosine

Invariants:
1. A vector is stored as float64, so that it comes back exactly.
2. Scores are the same with numpy and without it, up to rounding in the last digits, which do not decide the order.
3. Vectors of different lengths are never compared.

It must not know what is embedded, nor load numpy before a score is wanted.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import struct
from functools import cache
from typing import TYPE_CHECKING, Any

from .node import is_coroutine_function

if TYPE_CHECKING:
    from collections.abc import Sequence

DECIDING_DIGITS = 12
"""Scores that differ only behind these digits are equal, since the order of a sum shows there."""


class Embedder:
    """The user's way from texts to vectors, synchronous and for event loops.

    Args:
        embed: A function, a coroutine function, an object with ``embed_documents`` and ``embed_query``, or the name
            of a model for ``langchain.embeddings.init_embeddings``.
    """

    def __init__(self, embed: Any) -> None:
        """Look the function over.

        Raises:
            ValueError: There is none, or langchain, which knows models by name, is not installed.
            TypeError: It is nothing that can embed.
        """
        if embed is None:
            raise ValueError("embed must be provided: index={'dims': …, 'embed': your_function}.")
        self._embed = _model_named(embed) if isinstance(embed, str) else embed
        self._is_object = hasattr(self._embed, "embed_documents") and hasattr(self._embed, "embed_query")
        if not self._is_object and not callable(self._embed):
            kind = type(embed).__name__
            message = f"embed must be a function, or have embed_documents and embed_query; {kind} is neither."
            raise TypeError(message)
        self._is_async = not self._is_object and is_coroutine_function(self._embed)

    def documents(self, texts: list[str]) -> list[bytes]:
        """Return the vectors of texts.

        Raises:
            ValueError: Only a coroutine function is there, or it gave something else than one vector for each text.
        """
        if not texts:
            return []
        if self._is_object:
            return _packed(self._embed.embed_documents(texts), len(texts))
        found = None if self._is_async else self._embed(texts)
        if self._is_async or inspect.iscoroutine(found):
            if found is not None:
                found.close()
            raise ValueError(
                "The index embeds with a coroutine function, which needs an event loop: use aput, asearch and abatch, "
                "or give it a plain function."
            )
        return _packed(found, len(texts))

    async def adocuments(self, texts: list[str]) -> list[bytes]:
        """Return the vectors of texts; a plain function runs in a thread.

        Raises:
            ValueError: It gave something else than one vector for each text.
        """
        if not texts:
            return []
        return _packed(await self._wait("documents", texts), len(texts))

    def queries(self, texts: list[str]) -> list[bytes]:
        """Return the vectors of questions, which some models embed in another way than answers."""
        if self._is_object:
            return _packed([self._embed.embed_query(text) for text in texts], len(texts))
        return self.documents(texts)

    async def aqueries(self, texts: list[str]) -> list[bytes]:
        """Return the vectors of questions."""
        if self._is_object:
            return _packed(await asyncio.gather(*[self._wait("query", text) for text in texts]), len(texts))
        return await self.adocuments(texts)

    async def _wait(self, kind: str, given: Any) -> Any:
        if self._is_object:
            coroutine = getattr(self._embed, f"aembed_{kind}", None)
            if coroutine is not None:
                return await coroutine(given)
            return await asyncio.to_thread(getattr(self._embed, f"embed_{kind}"), given)
        if self._is_async:
            return await self._embed(given)
        found = await asyncio.to_thread(self._embed, given)
        return await found if inspect.isawaitable(found) else found


def _model_named(name: str) -> Any:
    try:
        from langchain.embeddings import init_embeddings  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        message = (
            f"Could not load embeddings from string '{name}': naming a model requires langchain. "
            "Install it, or give a function."
        )
        raise ValueError(message) from None
    return init_embeddings(name)


def _packed(vectors: Any, count: int) -> list[bytes]:
    packed = [struct.pack(f">{len(vector)}d", *vector) for vector in vectors]
    if len(packed) != count:
        message = f"The embedding function returned {len(packed)} vectors for {count} texts."
        raise ValueError(message)
    return packed


def cosine(query: bytes, vectors: Sequence[bytes]) -> list[float]:
    """Return how near each vector is to the query: 1.0 for the same direction, 0.0 for none in common.

    Raises:
        ValueError: They do not have the same length.
    """
    for vector in vectors:
        if len(vector) != len(query):
            message = (
                f"The query's vector has {len(query) // 8} numbers, a stored one has {len(vector) // 8}. "
                "Was the embedding function changed? Then put the items again."
            )
            raise ValueError(message)
    numpy = _numpy()
    if not vectors:
        return []
    return _cosine_plain(query, vectors) if numpy is None else _cosine_numpy(numpy, query, vectors)


def _cosine_numpy(numpy: Any, query: bytes, vectors: Sequence[bytes]) -> list[float]:
    one = numpy.frombuffer(query, ">f8").astype(float)
    many = numpy.frombuffer(b"".join(vectors), ">f8").astype(float).reshape(len(vectors), -1)
    norms = numpy.linalg.norm(many, axis=1) * numpy.linalg.norm(one)
    products = many @ one
    scores: list[float] = numpy.divide(
        products, norms, out=numpy.zeros_like(products), where=norms > 0
    ).tolist()
    return scores


def _cosine_plain(query: bytes, vectors: Sequence[bytes]) -> list[float]:
    one = struct.unpack(f">{len(query) // 8}d", query)
    norm = math.sqrt(math.fsum([number * number for number in one]))
    scores = []
    for vector in vectors:
        other = struct.unpack(f">{len(vector) // 8}d", vector)
        both = norm * math.sqrt(math.fsum([number * number for number in other]))
        product = math.fsum(map(float.__mul__, one, other))
        scores.append(product / both if both > 0 else 0.0)
    return scores


@cache
def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def ranked(scores: Sequence[float]) -> list[int]:
    """Return the places of scores, the greatest score first; of equal ones the earlier first."""
    return sorted(range(len(scores)), key=lambda place: -round(scores[place], DECIDING_DIGITS))
