"""What a compiled graph tells of itself, without running: its drawing, the graphs within it, its types.

    get_graph _repr_svg_          what it looks like                 draw_trace
    get_subgraphs                 which graphs its nodes run         discover
    get_input_schema …            what it takes and gives            introspect
    channels stream_channels …    what it is made of

Each method is a line; what it needs is imported when it is called, since most programs never draw.

It must not run anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from ..replay.channel import BaseChannel
    from ..wal.log import Log
    from .cache import BaseCache
    from .drawing import Graph
    from .settings import Compiled


class Described:
    """The part of a compiled graph that only looks at it."""

    if TYPE_CHECKING:
        # What a compiled graph has; this part is used with it only.
        name: str
        builder: Any
        parts: Compiled

    def get_graph(self, config: dict[str, Any] | None = None, *, xray: int | bool = False) -> Graph:
        """Return the graph as something to be drawn.

        Args:
            config: Not used; LangGraph's signature.
            xray: Whether to draw subgraphs in the place of the nodes that run them; a number says how many levels.

        Returns:
            Nodes and edges, with ``draw_mermaid()``, ``draw_ascii()`` and ``draw_svg()``.
        """
        from .draw_trace import trace

        return trace(self, xray=xray)

    async def aget_graph(self, config: dict[str, Any] | None = None, *, xray: int | bool = False) -> Graph:
        """Return the graph as something to be drawn; see ``get_graph``."""
        return self.get_graph(config, xray=xray)

    def get_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """Yield the graphs that nodes are, or that their code names.

        Args:
            namespace: The one to yield, as names of nodes with ``|`` between; None for all.
            recurse: Whether to yield those within them, too.

        Returns:
            Pairs of namespace and compiled graph.
        """
        from .discover import subgraphs_of

        return subgraphs_of(self, namespace, recurse=recurse)

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncIterator[tuple[str, Any]]:
        """Yield the graphs that nodes are, or that their code names; see ``get_subgraphs``."""
        for found in self.get_subgraphs(namespace=namespace, recurse=recurse):
            yield found

    def validate(self) -> Self:
        """Return the graph, which was checked when it was compiled."""
        return self

    @property
    def checkpointer(self) -> Log | bool | None:
        """The log that the graph was compiled with."""
        return self.parts.settings.log

    @property
    def store(self) -> Any:
        """The store that the graph was compiled with."""
        return self.parts.settings.store

    @property
    def cache(self) -> BaseCache[Any] | None:
        """The cache that the graph was compiled with."""
        cache: BaseCache[Any] | None = self.parts.settings.cache
        return cache

    @property
    def config(self) -> dict[str, Any] | None:
        """The config below that of every call; see ``with_config``."""
        return self.parts.settings.config

    @property
    def channels(self) -> dict[str, BaseChannel]:
        """The graph's channels by name."""
        return self.parts.program.blueprint.channels

    @property
    def input_channels(self) -> str:
        """The channel that takes the input."""
        return "__start__"

    @property
    def output_channels(self) -> str | list[str]:
        """The channels that are returned; one alone if it is the whole output."""
        reader = self.parts.program.output
        whole = reader.root or self.parts.program.is_entrypoint
        return reader.keys[0] if whole else list(reader.keys)

    @property
    def stream_channels(self) -> str | list[str]:
        """The channels that streams show."""
        reader = self.parts.program.reader
        whole = reader.root or self.parts.program.is_entrypoint
        return reader.keys[0] if whole else list(reader.keys)

    @property
    def stream_channels_asis(self) -> str | list[str]:
        """The channels that streams show."""
        return self.stream_channels

    @property
    def stream_channels_list(self) -> list[str]:
        """The channels that streams show, as a list also if it is one."""
        return list(self.parts.program.reader.keys)

    @property
    def stream_mode(self) -> str:
        """What ``stream`` shows if it is not told."""
        return self.parts.settings.stream_mode

    @property
    def context_schema(self) -> type | None:
        """The type of ``runtime.context``."""
        return self.parts.settings.context_schema

    @property
    def interrupt_before_nodes(self) -> Sequence[str] | str:
        """The nodes that runs stop before."""
        return self.parts.settings.interrupt_before

    @property
    def interrupt_after_nodes(self) -> Sequence[str] | str:
        """The nodes that runs stop after."""
        return self.parts.settings.interrupt_after

    @property
    def InputType(self) -> Any:  # noqa: N802 - LangGraph's name
        """The type of what the graph takes."""
        from .introspect import input_type

        return input_type(self.parts, self.builder)

    @property
    def OutputType(self) -> Any:  # noqa: N802 - LangGraph's name
        """The type of what the graph returns."""
        from .introspect import output_type

        return output_type(self.parts, self.builder)

    @property
    def input_schema(self) -> Any:
        """A pydantic model of what the graph takes; see ``get_input_schema``."""
        return self.get_input_schema()

    @property
    def output_schema(self) -> Any:
        """A pydantic model of what the graph returns; see ``get_output_schema``."""
        return self.get_output_schema()

    def get_input_schema(self, config: dict[str, Any] | None = None) -> Any:
        """Return a pydantic model of what the graph takes.

        Args:
            config: Not used; LangGraph's signature.

        Raises:
            NotAvailable: pydantic is not installed.
        """
        from .introspect import model_of

        return model_of(self.InputType, f"{self.name}Input")

    def get_output_schema(self, config: dict[str, Any] | None = None) -> Any:
        """Return a pydantic model of what the graph returns; see ``get_input_schema``."""
        from .introspect import model_of

        return model_of(self.OutputType, f"{self.name}Output")

    def get_input_jsonschema(self, config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON schema of what the graph takes; see ``get_input_schema``."""
        schema: dict[str, Any] = self.get_input_schema(config).model_json_schema()
        return schema

    def get_output_jsonschema(self, config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON schema of what the graph returns; see ``get_input_schema``."""
        schema: dict[str, Any] = self.get_output_schema(config).model_json_schema()
        return schema

    def get_context_jsonschema(self) -> dict[str, Any] | None:
        """Return the JSON schema of the context, or None if the graph was compiled without one.

        Raises:
            NotAvailable: pydantic is not installed.
        """
        from .introspect import context_json_schema

        return context_json_schema(self.context_schema)

    def config_schema(self, *, include: Sequence[str] | None = None) -> Any:
        """Return a pydantic model of the config; ``get_context_jsonschema`` says the same in fewer words.

        Args:
            include: Not used; LangGraph's signature.

        Raises:
            NotAvailable: pydantic is not installed.
        """
        from .introspect import config_model

        return config_model(self.context_schema, f"{self.name}Config")

    def get_config_jsonschema(self, *, include: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the JSON schema of the config; see ``config_schema``."""
        schema: dict[str, Any] = self.config_schema(include=include).model_json_schema()
        return schema

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Return what notebooks show: the drawing, made here."""
        return {"text/plain": repr(self), "image/svg+xml": self._repr_svg_()}

    def _repr_svg_(self) -> str:
        """Return the drawing."""
        return self.get_graph().draw_svg()
