"""Which profile the Profiler page looks at: that in its address, also when it is gone, and what was chosen before."""

from fake_engine import FakeEngine, eventually
from profile_makers import cpu_trace, gpu_trace, put_profile
from streamlit.testing.v1 import AppTest

from eurosat_core.lab.lab import Lab
from tests.pages.conftest import ME, THREE, App, address, checked, click, put, says
from tests.pages.test_profiler_page import PAGE, upload


def test_record_works_where_the_profile_in_the_address_is_gone(lab: Lab, app: App, engine: FakeEngine) -> None:
    record = put_profile(lab, ME, [cpu_trace()])
    test = app(PAGE, run=record.id)
    lab.delete(record.id, ME)  # in another tab
    click(test, "profiler_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert address(test, "run") == job.run_id and "There is no run" not in says(test)


def after_train(test: AppTest) -> AppTest:
    """The page as it is when one comes back from the Train page: the navigation's links drop what the address held."""
    for page in ("train.py", "profiler.py"):
        for name in {"trace", "run"} & set(test.query_params):
            del test.query_params[name]
        checked(test.switch_page(page).run())
    return test


def test_an_uploaded_trace_is_still_there_after_a_visit_to_train(lab: Lab, app: App) -> None:
    training = put(lab, "finished", THREE)
    test = app("train.py", run=training.id)
    test.switch_page("profiler.py").run()
    upload(test, "theirs.json", gpu_trace())
    assert "This trace was uploaded" in says(test)
    key = address(test, "trace")
    after_train(test)
    assert "This trace was uploaded" in says(test) and address(test, "trace") == key
    test.run()
    assert "This trace was uploaded" in says(test)
    test.switch_page("train.py").run()
    assert address(test, "run") == training.id


def test_what_was_chosen_last_is_still_there_after_a_visit_to_train(lab: Lab, app: App) -> None:
    profile = put_profile(lab, ME, [cpu_trace()])
    training = put(lab, "finished", THREE)
    test = app("train.py", run=training.id)
    test.switch_page("profiler.py").run()
    upload(test, "theirs.json", gpu_trace())
    assert "This trace was uploaded" in says(after_train(test))
    test.query_params["run"] = profile.id  # the sidebar's link
    del test.query_params["trace"]
    test.run()
    assert "A step took 1 ms" in says(test) and "This trace was uploaded" not in says(test)
    after_train(test)
    assert address(test, "run") == profile.id and "trace" not in test.query_params
