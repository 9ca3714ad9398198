"""A call of a stage, as its config says."""

from typing import Any

import pytest

from elfs.config import CONFIGS, SelectConfig, StageConfig
from elfs.pipeline.graph import STAGES, needed_artifacts, record_name, stage_of
from elfs.pipeline.job import StageCall

CASES: list[tuple[str, StageConfig]] = [
    ("label", CONFIGS["label"]()),
    ("select", SelectConfig(method="random", groups="shots.csv", per_group=1, name="few")),
]


@pytest.mark.parametrize(("stage", "config"), CASES)
@pytest.mark.parametrize("how", [{}, {"force": True}, {"smoke": True}])
def test_call_is_what_the_table_says_of_a_config(stage: str, config: StageConfig, how: dict[str, Any]) -> None:
    call = StageCall.of(stage, config, **how)
    assert (call.stage, call.record) == (stage_of(stage, config), record_name(stage, config))
    assert call.needs == needed_artifacts(stage, config)
    assert (call.force, call.smoke) == (how.get("force", False), how.get("smoke", False))
    assert (call.code, call.draft_key) == (None, None)


def test_call_runs_in_earnest_and_only_what_is_not_there_unless_told() -> None:
    call = StageCall(STAGES["label"], "label", ())
    assert (call.force, call.smoke) == (False, False)


def test_only_a_selection_hangs_on_its_config() -> None:
    assert [name for name in STAGES if stage_of(name, CONFIGS[name]()) != STAGES[name]] == ["select"]
