"""What other pages set up for the Train page: its settings are open there, not the training that was looked at last."""

import pytest
from profile_makers import cpu_trace, put_profile

from eurosat_core.lab.lab import Lab
from tests.pages.conftest import ME, THREE, App, address, click, put


@pytest.mark.parametrize(
    ("page", "button"),
    [
        ("wrapup.py", "wrapup_next_epochs"),
        ("compare.py", "compare_train"),
        ("model.py", "model_change_train"),
        ("profiler.py", "profiler_train_data_loading"),
    ],
)
def test_settings_are_open_although_a_training_was(lab: Lab, app: App, page: str, button: str) -> None:
    put_profile(lab, ME, [cpu_trace()])
    record = put(lab, "finished", THREE, summary={"val_accuracy": 0.62, "seconds": 30.0})
    test = app("train.py", run=record.id)
    assert address(test, "run") == record.id
    test.switch_page(page)
    test.session_state["profiler_part"] = "advice"
    test.run()
    click(test, button)
    assert test.title[0].value.startswith("Train: ") and "run" not in test.query_params
    (settings,) = [each for each in test.expander if each.label.startswith("Settings")]
    assert settings.proto.expanded
