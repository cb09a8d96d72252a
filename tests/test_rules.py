"""The page that compares walgraph with LangGraph: it is complete, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import walgraph

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "langgraph.md"


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


RULES = {
    "P": 14, "A": 14, "K": 8, "D": 14, "C": 5, "R": 9, "N": 6, "T": 13, "I": 18, "G": 7, "SG": 8, "TT": 9, "U": 12,
    "RL": 2, "RT": 5, "CA": 2, "TO": 3, "EH": 1, "DR": 2, "CN": 3, "LC": 3, "ST": 4, "GS": 7, "CC": 3,
}  # fmt: skip
"""How many rules each family has: they are numbered from one."""

NAMES = words("""
    StateGraph StateGraph.add_node StateGraph.set_node_defaults StateGraph.add_edge
    StateGraph.add_conditional_edges StateGraph.add_sequence StateGraph.set_entry_point StateGraph.validate
    StateGraph.compile CompiledStateGraph START END MessagesState add_messages REMOVE_ALL_MESSAGES task
    entrypoint entrypoint.final Durability StreamMode StreamWriter RetryPolicy TimeoutPolicy CachePolicy
    Interrupt interrupt Command Send Overwrite StateUpdate StateSnapshot PregelTask GraphOutput StreamPart
    GraphBubbleUp GraphInterrupt ParentCommand GraphDrained GraphRecursionError InvalidUpdateError
    EmptyInputError EmptyChannelError UnknownInterruptError NodeError NodeCancelledError NodeTimeoutError
    Runtime ExecutionInfo RunControl get_runtime get_config get_store get_stream_writer IsLastStep
    RemainingSteps LastValue AnyValue EphemeralValue UntrackedValue BinaryOperatorAggregate Topic
    NamedBarrierValue NamedBarrierValueAfterFinish LastValueAfterFinish BaseStore InMemoryStore Item
    SearchItem GetOp SearchOp PutOp ListNamespacesOp MatchCondition TTLConfig IndexConfig
    InvalidNamespaceError BaseCache InMemoryCache All Checkpointer ensure_valid_checkpointer TAG_NOSTREAM
    Runtime.merge Runtime.override Runtime.patch_execution_info Runtime.drain_requested ExecutionInfo.patch
    StateGraph.set_finish_point StateGraph.set_conditional_entry_point TAG_HIDDEN TaskNotFound ErrorCode
    create_error_message TaskPayload TaskResultPayload CheckpointTask CheckpointPayload DebugPayload
    ValuesStreamPart UpdatesStreamPart MessagesStreamPart CustomStreamPart CheckpointStreamPart TasksStreamPart
    DebugStreamPart
""")
"""What LangGraph's users import."""

METHODS = words("""
    invoke ainvoke stream astream batch abatch batch_as_completed abatch_as_completed transform atransform
    get_state get_state_history update_state bulk_update_state get_graph get_subgraphs clear_cache
    aclear_cache copy with_config config_schema get_context_jsonschema get_input_schema get_input_jsonschema
    get_output_schema get_output_jsonschema stream_channels_list stream_channels_asis InputType OutputType
    step_timeout get_config_jsonschema validate builder
""")
"""What they call on a compiled graph."""

OTHERS = words("""
    LANGGRAPH_DEFAULT_RECURSION_LIMIT StateGraph.nodes StateGraph.edges StateGraph.branches StateGraph.channels
    StateGraph.managed StateGraph.schemas StateGraph.waiting_edges StateGraph.compiled StateGraph.state_schema
    StateGraph.input_schema StateGraph.output_schema StateGraph.context_schema Checkpoint CheckpointMetadata
    CheckpointTuple BaseCheckpointSaver JsonPlusSerializer EncryptedSerializer SqliteStore AsyncSqliteStore
    AsyncBatchedBaseStore SqliteCache RedisCache Pregel CompiledStateGraph.attach_node CompiledStateGraph.attach_edge
    CompiledStateGraph.attach_branch DeltaChannel DeltaChannelHistory LangGraphDeprecatedSinceV05
    LangGraphDeprecatedSinceV10 LangGraphDeprecatedSinceV11
""")
"""What else has a row: what a builder shows, a variable, and what is left out on purpose."""


def rows() -> list[list[str]]:
    """Return the cells of every row of the page's tables."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def existing() -> set[str]:
    """Return the tests that there are, as ``module::name``."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(f"{path.stem}::{node.name}")
    return found


def test_every_rule_has_a_row() -> None:
    """A rule that LangGraph has and the page does not mention would be one that nobody looked at."""
    listed = [cells[0] for cells in rows() if re.fullmatch(r"[A-Z]+-\d+", cells[0])]
    assert listed == [
        f"{family}-{number}" for family, count in RULES.items() for number in range(1, count + 1)
    ]


def test_every_name_has_a_row() -> None:
    """The same holds for what is imported and called."""
    listed = [name for cells in rows() for name in re.findall(r"`([\w.]+)`", cells[0])]
    assert sorted({*NAMES, *METHODS, *OTHERS} - set(listed)) == []
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_can_be_imported(name: str) -> None:
    """What is listed as there is there."""
    found = walgraph
    for part in name.split("."):
        found = getattr(found, part)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_there(name: str) -> None:
    """What is listed as callable is an attribute of compiled graphs."""
    builder = walgraph.StateGraph(dict).add_node("node", lambda state: state)
    assert hasattr(builder.add_edge(walgraph.START, "node").compile(), name)


def test_every_row_names_a_test_that_exists() -> None:
    """A row whose test was renamed or removed shows nothing; only what is not ours needs none."""
    known = existing()
    wrong = [
        cells
        for cells in rows()
        if cells[0] not in {"rule", "name"}
        and not set(re.findall(r"`(test_\w+::\w+)`", cells[-1])) & known
        and not (cells[-2].startswith("not ours") and cells[-1] == "–")
    ]
    assert wrong == []


def test_every_verdict_is_one_of_three() -> None:
    """Each rule is kept, kept better, or left out, and the last two say how or why."""
    for cells in rows():
        if cells[0] not in {"rule", "name"}:
            assert re.match(r"same\b|better: .|not ours: .", cells[-2]), cells
